"""Stored configs, which may come from somebody else and are not trusted.

The schemas type a stored config and check its bounds as they do for a command line. It can only make known choices. It
refers to nothing outside of itself. A module of the user's own, which would be imported, must have
been named in this very call.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from importlib.metadata import entry_points
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from grokplane import config
from grokplane.making import SETTLED, TARGET, check_keys, group_of, makes_its_parts, named
from grokplane.models.module_factory import TARGET as MODULE
from grokplane.options import ConfigError
from grokplane.plugins import check_named
from grokplane.train.lasting import Lasting

# An installed package that lists its modules or classes here is trusted with being imported.
PLUGINS = "grokplane.modules"
# Keys that older versions stored under another name: (group, old name) to new name.
RENAMED = {("mi", "input"): "input_estimator", ("mi", "labels"): "label_estimator"}


def composed(nested: object, modules: Collection[str] = ()) -> DictConfig:
    """Return a stored config, typed and checked.

    Args:
        nested: as it was stored, plain dicts.
        modules: the `_target_`s of modules of the user's own that this call named.

    Raises:
        ConfigError, OmegaConfBaseException: whatever our schemas would not take from a command line.
    """
    if not isinstance(nested, Mapping):
        raise ConfigError("config", nested, "the stored config must be a mapping of keys")
    nested = _with_current_names(nested)
    try:
        texts = list(_texts(nested, ""))
    except RecursionError:
        raise ConfigError("config", "{...}", "the stored config holds itself; begin the run anew") from None
    for key, text in texts:
        if "${" in text:
            raise ConfigError(key, text, "a stored config refers to nothing; allowed: plain values")
    schema = config.root()
    made, known = OmegaConf.structured(schema), [spec.name for spec in fields(schema)]
    made.merge_with({key: value for key, value in nested.items() if key == "grokplane"})
    check_named(made.grokplane.plugins)  # first, as the choices of a plug-in that is not imported are unknown
    for key, value in nested.items():
        if key == "grokplane":
            continue
        if key not in known:
            raise ConfigError(key, value, "written by another version, with other keys; begin the run anew")
        made[key] = _group(key, value)
    for group in (*config.MEMBER_KEYS, "record"):
        there = nested.get(group)
        if group not in ("seed", *config.LISTS) and not (isinstance(there, Mapping) and TARGET in there):
            raise ConfigError(group, there, f"the stored config must say what it is, with a {TARGET}")
    config.validate(made)
    check_module(made, modules)
    return made


def _with_current_names(nested: Mapping[Any, Any]) -> dict[Any, Any]:
    """The config of an older version with the present names of its keys."""
    made = dict(nested)
    for (group, old), new in RENAMED.items():
        node = made.get(group)
        if isinstance(node, Mapping) and old in node:
            made[group] = {new if key == old else key: value for key, value in node.items()}
    return made


def _group(key: str, value: Any) -> Any:
    if key in config.LISTS and isinstance(value, Mapping):
        return {name: _typed(key, part, f"{key}.{name}") for name, part in value.items()}
    return _typed(key, value, key)


def _typed(group: str, node: Any, at: str) -> Any:
    """A node as its choice's schema has it, and the nodes within; what has no `_target_` is a value."""
    if not isinstance(node, Mapping):
        return node
    if TARGET not in node:
        return {key: _typed(group_of(f"{group}/{key}"), part, f"{at}.{key}") for key, part in node.items()}
    choice = named(group, node[TARGET], config.targets(), at)
    values = {key: value for key, value in node.items() if key not in SETTLED}
    check_keys(values, choice, at)
    made = OmegaConf.structured(config.schema(choice))
    for key, value in values.items():
        part = value if makes_its_parts(choice) else _typed(group_of(f"{group}/{key}"), value, f"{at}.{key}")
        try:
            made[key] = part
        except OmegaConfBaseException as error:
            raise ConfigError(f"{at}.{key}", value, str(error).partition("\n")[0]) from error
    return made


def check_module(one: DictConfig, modules: Collection[str]) -> None:
    """Refuse a module of the user's own that neither this call named nor an installed plug-in lists.

    Args:
        one: a complete config that came from a folder or a file.
        modules: see `composed`.

    Raises:
        ConfigError: it would be imported, which runs whatever it says.
    """
    target = module_of(one)
    if target is not None and target not in modules and not _installed(target):
        allowed = (
            f"would be imported, which runs its code: if you trust it, name it in this call, {MODULE}={target}"
            f" (predict, prune: --module {target}), or install it with an entry point of {PLUGINS}"
        )
        raise ConfigError(MODULE, target, allowed)


def is_state(state: object, step: int) -> bool:
    """Whether what a checkpoint of a step holds is of the kind that a run saves: it may be somebody's."""
    kinds = {"config": dict, "model": dict, "optimizer": dict, "rules": dict, "grok": dict, "alive": bool}
    kinds |= {"step": int, "diverged": int}
    remembered = state.get("callbacks", {}) if isinstance(state, dict) else None
    if not isinstance(remembered, dict) or not all(isinstance(one, dict) for one in remembered.values()):
        return False
    if not isinstance(state, dict) or any(type(state.get(name)) is not kind for name, kind in kinds.items()):
        return False
    parts = state.get("parts", {})
    if not isinstance(parts, dict) or not all(isinstance(one, dict) for one in parts.values()):
        return False
    if "marks" in state and not Lasting.holds(state["marks"]):
        return False
    marks = [one.get(name) for one in (state["grok"], *parts.values()) for name in ("train_step", "test_step")]
    return state["step"] == step >= 0 and all(mark is None or type(mark) is int for mark in marks)


def module_of(one: DictConfig) -> str | None:
    """The class of a config's module of the user's own, None where the model is one of ours."""
    found = OmegaConf.select(one, MODULE, default=None, throw_on_missing=False)
    return None if found is None else str(found)


def _installed(target: str) -> bool:
    listed = (plugin.value.replace(":", ".") for plugin in entry_points(group=PLUGINS))
    return any(target == name or target.startswith(f"{name}.") for name in listed)


def _texts(node: Any, at: str) -> Iterator[tuple[str, str]]:
    """Every text in a nested config, with its key."""
    if isinstance(node, Mapping):
        for key, part in node.items():
            yield from _texts(part, f"{at}.{key}" if at else str(key))
    elif isinstance(node, list | tuple):
        for part in node:
            yield from _texts(part, at)
    elif isinstance(node, str):
        yield at, node
