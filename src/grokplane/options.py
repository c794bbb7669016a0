"""Declaring the keys of a configurable choice: one dataclass field per key, with a help line and bounds.

This module imports nothing of grokplane, so every package may use it.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, field, fields
from functools import cache
from numbers import Integral, Real
from types import ModuleType, NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

# Config groups that take any number of choices: `metrics=[loss,accuracy]`.
LISTS = ("rules", "metrics", "callbacks")
# Most digits of a whole number: a float can represent any such number. Python itself refuses more than 4,300
# digits.
DIGITS = 308

_Choice = TypeVar("_Choice")


class ConfigError(ValueError):
    """A value that cannot be used. The message is one line with the key, the value and the allowed values."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key, self.value, self.allowed = key, value, allowed
        super().__init__(f"{key}={shown(value)}: {allowed}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the three arguments, also for subclasses with other arguments: errors return from worker processes."""
        return _restored, (type(self), self.key, self.value, self.allowed)


def _restored(kind: type[ConfigError], key: str, value: object, allowed: str) -> ConfigError:
    error = kind.__new__(kind)
    ConfigError.__init__(error, key, value, allowed)
    return error


def shown(value: object) -> str:
    """A config value as it is typed on the command line."""
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
    file: bool = False,
    text: bool = False,
) -> Any:
    """A dataclass field that is a config key.

    Args:
        default: the key's default; a list is copied for every instance.
        help: one line for `--help`.
        above, below, at_least, at_most: bounds of a number, or of each number of a list.
        length: required length of a list.
        choices: allowed names, for a key that takes one name or a list of at least one name.
        stackable: whether members of one stack may differ in this key.
        folder: whether the value is a folder or part of a path; any name that the shell passes is accepted.
        file: whether the value is the path of a file; a relative path is stored as an absolute one, and is relative to
            the folder in which the program was started. Any name that the shell passes is accepted; `null` is null, and
            a file of this name is `./null`.
        text: whether the value is taken as the shell passes it, without Hydra's quotes.
    """
    bounds = {"above": above, "below": below, "at_least": at_least, "at_most": at_most}
    metadata = {
        "help": help,
        "bounds": {name: bound for name, bound in bounds.items() if bound is not None},
        "length": length,
        "choices": tuple(choices) if choices is not None else None,
        "stackable": stackable,
        "folder": folder,
        "file": file,
        "text": text,
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
    """Class decorator: objects made in Python refuse the values that the command line refuses, with the same message.

    Place it below `@dataclass(frozen=True)`. The class's own `__post_init__` runs after the check.
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
    """Prefix of a choice's keys on the command line: `optimizer.`, `rules.sam.`; "" for other classes."""
    for base in kind.__mro__:
        module = sys.modules[base.__module__]
        for group, name, choice in listed(module):
            if choice is base:
                return f"{group}.{name}." if group in LISTS else f"{group.replace('/', '.')}."
    return ""


def listed(module: ModuleType) -> Iterator[tuple[str, str, Any]]:
    """The choices that a module lists as (config group, name, dataclass).

    A module has `GROUP` and `CHOICES` by name or, for several groups, `CHOICES` by group and name.
    """
    for group, choices in by_group(module).items():
        for name, choice in choices.items() if isinstance(choices, Mapping) else ():
            yield group, name, choice


def by_group(module: ModuleType) -> Mapping[str, Any]:
    """What a module lists for each config group; see `listed`."""
    found = getattr(module, "CHOICES", None)
    found = {module.GROUP: found} if hasattr(module, "GROUP") else found
    return found if isinstance(found, Mapping) else {}


def check_options(choice: Any, prefix: str = "") -> None:
    """Check every key of a dataclass (instance or typed config node) against its type and the bounds it declares.

    Raises:
        ConfigError: for the first key whose value has another type, is not finite, is out of bounds or is not among
            the choices.
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
    """The fields' types; none for a config node, whose types OmegaConf has checked."""
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
    """Check a type as OmegaConf does: a bool is no number, text is no list; integers are floats, tuples are lists."""
    allowed = list(alternatives(hint))
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


def alternatives(hint: Any) -> Iterator[Any]:
    """The types that a type hint allows: those of a union, or the hint itself."""
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
        raise ConfigError(key, value, f"must contain at least one name; allowed: {', '.join(names)}")
    for name in value if _is_list(value) else [value]:
        if name not in names:
            raise ConfigError(key, value, one_of(str(name), names))


def _is_list(value: object) -> bool:
    """Whether a value is a list; lists of a config node have a class of their own."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def _check_number(key: str, value: object, number: object, bounds: dict[str, float]) -> None:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return
    allowed = bounds_in_words(bounds)
    if not math.isfinite(number):
        raise ConfigError(key, value, f"must be a finite number{' ' + allowed if allowed else ''}")
    if not all(_HOLDS[name](number, bound) for name, bound in bounds.items()):
        raise ConfigError(key, value, f"must be {allowed}")


def bounds_in_words(bounds: Mapping[str, float]) -> str:
    """The bounds of a number as text: `at least 0 and below 1`."""
    return " and ".join(f"{_WORDS[name]} {bound:g}" for name, bound in bounds.items())


def one_of(value: str, names: Iterable[str]) -> str:
    """The allowed names as a message, with the most similar names first."""
    names = list(names)
    return f"{did_you_mean(value, names)} allowed: {', '.join(names)}".lstrip()


def did_you_mean(value: str, names: Iterable[str]) -> str:
    """The names most similar to a value, as a question; "" if no name is similar."""
    near = difflib.get_close_matches(value, list(names), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else ""
