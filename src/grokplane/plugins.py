"""Plug-ins: modules of other packages that list choices, as the files of grokplane do.

A package lists its modules under the entry points `grokplane.choices`; an installed package is trusted. A module
without a package is imported only if the present call names the module, `grokplane.plugins=[my_nets]`. Importing a
module runs its code, so no stored config causes an import.

This module is part of the floor below all rooms. It imports neither torch nor any room.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from omegaconf import OmegaConf

from grokplane.options import ConfigError, by_group, listed, one_of, option
from grokplane.schemas import schema
from grokplane.shipped import shipped_choices

KEY = "grokplane.plugins"
ENTRY_POINTS = "grokplane.choices"

# Modules that this process was told to import, by name.
_named: dict[str, ModuleType] = {}


@dataclass  # not frozen: OmegaConf would make the node read-only
class Plugins:
    """The config node `grokplane`."""

    plugins: list[str] = option([], "modules whose choices are added to the config groups (docs/plugins.md)")


def use(names: Sequence[str]) -> None:
    """Import modules by name, and add their choices for the rest of the process.

    A module is looked for on Python's path, then in the working directory.

    Raises:
        ConfigError: a module that cannot be imported, or whose choices cannot be added; names the module.
    """
    new = {name: _imported(name) for name in names if name not in _named}
    before = dict(_named)
    _named.update(new)
    try:
        list(choices())
    except ConfigError:
        _named.clear()
        _named.update(before)
        raise


def names() -> tuple[str, ...]:
    """The modules that this process was told to import, for another process to `use`."""
    return tuple(_named)


def check_named(asked: Sequence[str]) -> None:
    """Refuse a config's list of plug-ins if this process was not told to import one of them.

    Args:
        asked: the value of the key `grokplane.plugins`.

    Raises:
        ConfigError: the module would have to be imported, which runs its code.
    """
    known = {*_named, *(module.__name__ for _, module in _installed())} if asked else ()
    for name in asked:
        if name not in known:
            allowed = (
                f"would be imported, which runs its code: if you trust it, name it in this call, {KEY}=[{name}]"
                f" (predict, prune, measure: --plugin {name}), or install it with an entry point of {ENTRY_POINTS}"
            )
            raise ConfigError(KEY, [name], allowed)


def choices() -> Iterator[tuple[str, str, type]]:
    """Every choice of every plug-in as (config group, name, dataclass).

    Raises:
        ConfigError: a plug-in whose choices cannot be added; names the plug-in.
    """
    found = dict[str, tuple[str, ModuleType]]()
    for key, module in [*_installed(), *((KEY, module) for module in _named.values())]:
        found.setdefault(module.__name__, (key, module))
    taken = {(group, name): "grokplane" for group, names in _groups().items() for name in names} if found else {}
    for key, module in found.values():
        for group, name, choice in _listed(key, module):
            if (group, name) in taken:
                why = f"brings {group}={name}, a name that {taken[group, name]} has taken"
                raise ConfigError(key, module.__name__, f"{why}; rename it in the plug-in")
            taken[group, name] = module.__name__
            yield group, name, choice


@cache
def _groups() -> dict[str, list[str]]:
    """The config groups that take choices of plug-ins, with the names that are taken."""
    others = ("experiment", "debug", "local", "hydra")
    return {group: names for group, names in shipped_choices().items() if group.partition("/")[0] not in others}


def _listed(key: str, module: ModuleType) -> list[tuple[str, str, type]]:
    """The choices of a module, each checked."""
    lists = by_group(module)
    if not lists or not all(isinstance(choices, Mapping) and choices for choices in lists.values()):
        allowed = "must list its choices: GROUP and CHOICES, or CHOICES = {group: {name: dataclass}}"
        raise ConfigError(key, module.__name__, allowed)
    groups = _groups()
    found = list(listed(module))
    for group, name, choice in found:
        at = f"{module.__name__}: CHOICES"
        if group not in groups:
            raise ConfigError(at, group, f"no config group; {one_of(str(group), groups)}")
        if not re.fullmatch(r"\w+", str(name)):
            raise ConfigError(f"{at}.{group}", name, "a name must consist of letters, digits and underscores")
        if not (isinstance(choice, type) and is_dataclass(choice)):
            raise ConfigError(f"{at}.{group}.{name}", choice, "must be a dataclass, @dataclass(frozen=True)")
        _check_keys(choice)
    return found


@cache
def _check_keys(choice: Any) -> None:
    """Raise ConfigError for a choice whose fields are no config keys."""
    for spec in fields(choice):
        if "help" not in spec.metadata:
            at = f"{choice.__module__}.{choice.__qualname__}.{spec.name}"
            raise ConfigError(at, spec.type, 'must be declared with option(DEFAULT, "one line of help")')
    try:
        OmegaConf.structured(schema(choice))
    except Exception as error:  # whatever the annotations raise
        at = f"{choice.__module__}.{choice.__qualname__}"
        raise ConfigError(at, choice.__name__, f"its fields make no config node ({_line(error)})") from error


@cache
def _installed() -> tuple[tuple[str, ModuleType], ...]:
    """The modules of installed packages, each with the key that an error names."""
    found = []
    for point in entry_points(group=ENTRY_POINTS):
        try:
            found.append((ENTRY_POINTS, importlib.import_module(point.module)))
        except (Exception, SystemExit) as error:
            package = "an installed package" if point.dist is None else f"the installed package {point.dist.name}"
            allowed = f"a plug-in of {package}, which cannot be imported ({_line(error)}); repair or uninstall it"
            raise ConfigError(ENTRY_POINTS, point.value, allowed) from error
    return tuple(found)


def _imported(name: str) -> ModuleType:
    try:
        if importlib.util.find_spec(name.partition(".")[0]) is None:
            sys.path.append(os.getcwd())
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        allowed = f"cannot be imported ({_line(error)}); allowed: modules on PYTHONPATH or in the working directory"
        raise ConfigError(KEY, [name], allowed) from error


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
