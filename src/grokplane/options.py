"""How a configurable choice declares its keys: one dataclass field per key, with a help line and its bounds.

The floor below all rooms: it imports nothing of grokplane, so every room may use it.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, field, fields
from functools import cache
from numbers import Integral, Real
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

# Config groups of which any number of choices are taken: `metrics=[loss,accuracy]`.
LISTS = ("rules", "metrics")
# Of a whole number, at most: as many as a float can stand for. From 4,300 on Python reads none.
DIGITS = 308

_Choice = TypeVar("_Choice")


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
    return str(value).lower() if isinstance(value, bool) else " ".join(str(value).splitlines())


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
    folder: bool = False,
) -> Any:
    """A dataclass field that is a config key.

    Args:
        default: the key's default; a list is copied for every instance.
        help: one line for `--help`.
        above, below, at_least, at_most: bounds of a number, or of each number of a list.
        length: how many numbers a list must have.
        choices: the names allowed, for a key that names something, or one thing at least in a list.
        stackable: whether members of one stack may differ in this key.
        folder: whether the value names a folder, or a part of one: any name as the shell passes it is taken.
    """
    bounds = {"above": above, "below": below, "at_least": at_least, "at_most": at_most}
    metadata = {
        "help": help,
        "bounds": {name: bound for name, bound in bounds.items() if bound is not None},
        "length": length,
        "choices": tuple(choices) if choices is not None else None,
        "stackable": stackable,
        "folder": folder,
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


def name_of(choice: object) -> str:
    """The name under which a config calls a choice, as the file of its class lists it in `CHOICES`."""
    listed = getattr(sys.modules[type(choice).__module__], "CHOICES", {})
    return next((name for name, kind in listed.items() if kind is type(choice)), type(choice).__name__)


def checked(choice: type[_Choice]) -> type[_Choice]:
    """A class, to be made a dataclass of, whose objects refuse what the command line refuses, in the same line.

    Stands below `@dataclass(frozen=True)`; a `__post_init__` of its own comes after the check.
    """
    after = getattr(choice, "__post_init__", None)

    def check(self: Any) -> None:
        check_options(self, _prefix(type(self)))
        if after is not None:
            after(self)

    setattr(choice, "__post_init__", check)  # noqa: B010 (a type checker knows no such attribute)
    return choice


@cache
def _prefix(kind: type) -> str:
    """What the command line writes ahead of a choice's keys: `optimizer.`, `rules.sam.`; "" for what is no choice."""
    for base in kind.__mro__:
        module = sys.modules[base.__module__]
        for name, choice in getattr(module, "CHOICES", {}).items():
            if choice is base:
                group = module.GROUP.replace("/", ".")
                return f"{group}.{name}." if group in LISTS else f"{group}."
    return ""


def check_options(choice: Any, prefix: str = "") -> None:
    """Check every key of a dataclass (instance or typed config node) against its type and the bounds it declares.

    Raises:
        ConfigError: for the first key whose value is of another type, not finite, out of bounds or not among the
            choices.
    """
    types = _types(type(choice))
    for spec in fields(choice):
        metadata = spec.metadata
        if "bounds" not in metadata:
            continue
        value = getattr(choice, spec.name)
        key = f"{prefix}{spec.name}"
        if spec.name in types:
            _check_type(key, value, types[spec.name])
        if metadata["length"] is not None and len(value) != metadata["length"]:
            raise ConfigError(key, value, f"must be a list of {metadata['length']}")
        for number in value if _is_list(value) else [value]:
            if _is_list(number):
                raise ConfigError(key, value, "must be a list without lists in it")
            _check_number(key, value, number, metadata["bounds"])
        if metadata["choices"] is not None:
            _check_names(key, value, metadata["choices"])


@cache
def _types(kind: type) -> dict[str, Any]:
    """The fields' types; a config node has none here, as OmegaConf has seen to them."""
    return get_type_hints(kind)


_KINDS: dict[Any, tuple[type, str]] = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "a word"),
    list: (Sequence, "a list such as [32,32]"),
    dict: (Mapping, "a mapping"),
}


def _check_type(key: str, value: object, hint: Any) -> None:
    """Refuse what OmegaConf would: a bool is no number, a text no list; a whole number is a number, a tuple a list."""
    allowed = list(_alternatives(hint))
    if value is None and NoneType not in allowed and Any not in allowed:
        raise ConfigError(key, value, "must not be null")
    known = [kind for kind in allowed if (get_origin(kind) or kind) in _KINDS]
    if value is None or not known:
        return
    fitting = [kind for kind in known if _is_a(value, get_origin(kind) or kind)]
    if not fitting:
        words = " or ".join(_KINDS[get_origin(kind) or kind][1] for kind in known)
        raise ConfigError(key, value, f"must be {words}")
    inner = get_args(fitting[0])
    if isinstance(value, Sequence) and inner:
        for one in value:
            if not _is_list(one) and not _is_a(one, inner[0]):
                raise ConfigError(key, value, f"must be {_KINDS[list][1]}, and each must be {_KINDS[inner[0]][1]}")


def _alternatives(hint: Any) -> Iterator[Any]:
    if get_origin(hint) in (None, list, dict):
        yield hint
    else:
        yield from get_args(hint)


def _is_a(value: object, kind: Any) -> bool:
    if kind is not bool and isinstance(value, bool):
        return False
    return isinstance(value, _KINDS[kind][0]) and not (kind is list and isinstance(value, str))


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
