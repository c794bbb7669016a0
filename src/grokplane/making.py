"""Objects from configs: a `_target_` names one of the known choices of its place, and nothing else is ever called.

A config may have come from somebody else, in a checkpoint or a file. On the floor below all rooms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from grokplane.options import ConfigError, one_of

TARGET = "_target_"
MISSING = "???"  # as OmegaConf writes a value that is yet to be given
# What Hydra reads, and what is settled by the choice itself.
SETTLED = (TARGET, "_recursive_")
Targets = Mapping[tuple[str, str], type]


def make(group: str, node: Any, targets: Targets, at: str) -> Any:
    """The choice that a config node describes, its parts first; what has no `_target_` is a value, and stays.

    Args:
        group: the config group in which the node stands.
        node: plain dicts, lists and values.
        targets: every choice by its group and its `_target_`.
        at: the node's key, for errors.

    Raises:
        ConfigError: a `_target_` that is none of the group's, or values that it does not take.
    """
    if not isinstance(node, Mapping) or TARGET not in node:
        return node
    choice = named(group, node[TARGET], targets, at)
    values = {key: value for key, value in node.items() if key not in SETTLED}
    check_keys(values, choice, at)
    for key, value in values.items():
        if value == MISSING:
            raise ConfigError(f"{at}.{key}", MISSING, "must be given a value")
    if not makes_its_parts(choice):
        values = {key: make(f"{group}/{key}", value, targets, f"{at}.{key}") for key, value in values.items()}
    try:
        return choice(**values)
    except TypeError as error:  # a value that is missing
        raise ConfigError(at, node[TARGET], f"cannot be made of what is given ({error})") from error


def named(group: str, target: object, targets: Targets, at: str) -> type:
    """The choice of a group that a `_target_` names; ConfigError for what is none of the group's."""
    choice = targets.get((group, str(target)))
    if choice is None:
        names = [known for of, known in targets if of == group]
        allowed = one_of(str(target), names) if names else "nothing is made of this key"
        raise ConfigError(f"{at}.{TARGET}", target, allowed)
    return choice


def check_keys(values: Mapping[str, Any], choice: Any, at: str) -> None:
    """Raise ConfigError for a key that a choice does not have: typed ones have been refused by its schema."""
    known = [spec.name for spec in fields(choice)]
    for key in values:
        if key not in known:
            allowed = f"written by another version, with other keys ({one_of(key, known)}); begin the run anew"
            raise ConfigError(f"{at}.{key}", values[key], allowed)


def makes_its_parts(choice: type) -> bool:
    """Whether a `_target_` among a choice's values is its own business."""
    return bool(getattr(choice, "makes_its_parts", False))
