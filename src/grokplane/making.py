"""Objects from configs. A `_target_` names one of the known choices of its group; nothing else is ever called.

A config may come from other people, in a checkpoint or a file. This module is below all packages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from grokplane.options import ConfigError, one_of

TARGET = "_target_"
MISSING = "???"  # OmegaConf's mark of a missing value
# Keys that Hydra reads, and keys that the choice itself determines.
SETTLED = (TARGET, "_recursive_")
Targets = Mapping[tuple[str, str], type]
# Keys that hold choices of the group of their own config: a choice at `data/tasks/NAME` is one of `data`.
_HOLDS = re.compile(r"(?<=\bdata)/tasks/[^/]+|(?<=\boptimizer)/(?:embedding|hidden|read_out)\b")


def group_of(place: str) -> str:
    """The config group of a choice at a place of a config: `data/tasks/add/split` holds a choice of `data/split`."""
    return _HOLDS.sub("", place)


def make(group: str, node: Any, targets: Targets, at: str) -> Any:
    """Build the choice that a config node describes, inner choices first. A node without `_target_` is a plain value.

    A mapping without `_target_` keeps its keys, and its choices are built.

    Args:
        group: the config group of the node.
        node: plain dicts, lists and values.
        targets: every choice by its group and its `_target_`.
        at: the node's key, for error messages.

    Raises:
        ConfigError: a `_target_` that is not in the group, or values that the choice does not accept.
    """
    if not isinstance(node, Mapping):
        return node
    if TARGET not in node:
        return {key: _part(f"{group}/{key}", part, targets, f"{at}.{key}") for key, part in node.items()}
    choice = named(group, node[TARGET], targets, at)
    values = {key: value for key, value in node.items() if key not in SETTLED}
    check_keys(values, choice, at)
    for key, value in values.items():
        if value == MISSING:
            raise ConfigError(f"{at}.{key}", MISSING, "must be given a value")
    if not makes_its_parts(choice):
        values = {key: _part(f"{group}/{key}", value, targets, f"{at}.{key}") for key, value in values.items()}
    try:
        return choice(**values)
    except TypeError as error:  # a missing value
        raise ConfigError(at, node[TARGET], f"cannot be built from these values ({error})") from error


def _part(place: str, node: Any, targets: Targets, at: str) -> Any:
    """Build the choice at a place inside another one; errors that name a key of its group name the key of the place."""
    group = group_of(place)
    try:
        return make(group, node, targets, at)
    except ConfigError as error:
        own = f"{group.replace('/', '.')}."
        if group == place or not error.key.startswith(own) or error.key.startswith(f"{at}."):
            raise
        raise ConfigError(f"{at}.{error.key.removeprefix(own)}", error.value, error.allowed) from error


def named(group: str, target: object, targets: Targets, at: str) -> type:
    """The choice of a group that a `_target_` names; ConfigError if the group has no such choice."""
    choice = targets.get((group, str(target)))
    if choice is None:
        names = [known for of, known in targets if of == group]
        allowed = one_of(str(target), names) if names else "this key builds no object"
        raise ConfigError(f"{at}.{TARGET}", target, allowed)
    return choice


def check_keys(values: Mapping[str, Any], choice: Any, at: str) -> None:
    """Raise ConfigError for a key that a choice does not have. Typed keys have been checked by its schema."""
    known = [spec.name for spec in fields(choice)]
    for key in values:
        if key not in known:
            allowed = f"written by another version with other keys ({one_of(key, known)}); start a new run"
            raise ConfigError(f"{at}.{key}", values[key], allowed)


def makes_its_parts(choice: type) -> bool:
    """Whether a choice builds the `_target_` nodes among its values itself."""
    return bool(getattr(choice, "makes_its_parts", False))
