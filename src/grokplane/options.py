"""How a configurable choice declares its keys: one dataclass field per key, with a help line and its bounds.

The floor below all rooms: it imports nothing of grokplane, so every room may use it.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, field, fields
from typing import Any


class ConfigError(ValueError):
    """A value that cannot be used, told in one line: the key, the value and what is allowed."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key, self.value, self.allowed = key, value, allowed
        super().__init__(f"{key}={shown(value)}: {allowed}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by these three, also where a subclass is made from others: refusals come back from processes."""
        return _restored, (type(self), self.key, self.value, self.allowed)


def _restored(kind: type[ConfigError], key: str, value: object, allowed: str) -> ConfigError:
    error = kind.__new__(kind)
    ConfigError.__init__(error, key, value, allowed)
    return error


def shown(value: object) -> str:
    """A config value as a user would type it on the command line."""
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(shown, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def option(
    default: Any = MISSING,
    help: str = "",  # noqa: A002 (the word every command-line library uses)
    *,
    above: float | None = None,
    below: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    length: int | None = None,
    choices: Iterable[str] | None = None,
    stackable: bool = False,
) -> Any:
    """A dataclass field that is a config key.

    Args:
        default: the key's default; a list is copied for every instance.
        help: one line for `--help`.
        above, below, at_least, at_most: bounds of a number, or of each number of a list.
        length: how many numbers a list must have.
        choices: the names allowed, for a key that names something, or one thing at least in a list.
        stackable: whether members of one stack may differ in this key.
    """
    bounds = {"above": above, "below": below, "at_least": at_least, "at_most": at_most}
    metadata = {
        "help": help,
        "bounds": {name: bound for name, bound in bounds.items() if bound is not None},
        "length": length,
        "choices": tuple(choices) if choices is not None else None,
        "stackable": stackable,
    }
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


_HOLDS = {
    "above": lambda value, bound: value > bound,
    "below": lambda value, bound: value < bound,
    "at_least": lambda value, bound: value >= bound,
    "at_most": lambda value, bound: value <= bound,
}
_WORDS = {"above": "above", "below": "below", "at_least": "at least", "at_most": "at most"}


def check_options(choice: Any, prefix: str = "") -> None:
    """Check every key of a dataclass (instance or typed config node) against the bounds it declares.

    Raises:
        ConfigError: for the first key whose value is not finite, out of bounds or not among the choices.
    """
    for spec in fields(choice):
        metadata = spec.metadata
        if "bounds" not in metadata:
            continue
        value = getattr(choice, spec.name)
        key = f"{prefix}{spec.name}"
        if metadata["length"] is not None and len(value) != metadata["length"]:
            raise ConfigError(key, value, f"must be a list of {metadata['length']}")
        for number in value if _is_list(value) else [value]:
            if _is_list(number):
                raise ConfigError(key, value, "must be a list without lists in it")
            _check_number(key, value, number, metadata["bounds"])
        if metadata["choices"] is not None:
            _check_names(key, value, metadata["choices"])


def _check_names(key: str, value: Any, names: Sequence[str]) -> None:
    if _is_list(value) and not value:
        raise ConfigError(key, value, f"must name one at least; allowed: {', '.join(names)}")
    for name in value if _is_list(value) else [value]:
        if name not in names:
            raise ConfigError(key, value, one_of(str(name), names))


def _is_list(value: object) -> bool:
    """Lists of a config node are sequences of their own class."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def _check_number(key: str, value: object, number: object, bounds: dict[str, float]) -> None:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return
    allowed = " and ".join(f"{_WORDS[name]} {bound:g}" for name, bound in bounds.items())
    if not math.isfinite(number):
        raise ConfigError(key, value, f"must be a finite number{' ' + allowed if allowed else ''}")
    if not all(_HOLDS[name](number, bound) for name, bound in bounds.items()):
        raise ConfigError(key, value, f"must be {allowed}")


def one_of(value: str, names: Iterable[str]) -> str:
    """What is allowed where a name is asked for, the nearest names first."""
    names = list(names)
    near = difflib.get_close_matches(value, names, n=3, cutoff=0.5)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{meant}allowed: {', '.join(names)}"
