"""A choice's schema: the typed config node that Hydra composes, and the words for what each key allows.

This module is part of the floor below all rooms. It imports neither torch nor any room.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, field, fields, make_dataclass
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from grokplane.making import makes_its_parts
from grokplane.options import alternatives, bounds_in_words

_NUMBERS = {int: "whole number", float: "number"}


def schema(choice: type) -> type:
    """The typed config node of a choice: the fields of the choice, and the `_target_` that makes the choice of them."""
    hints = get_type_hints(choice)
    target = ("_target_", str, field(default=path(choice)))
    keys = [(spec.name, hints[spec.name], same_field(spec)) for spec in fields(choice)]
    if makes_its_parts(choice):  # the choice handles a `_target_` among its keys, not Hydra
        keys.append(("_recursive_", bool, field(default=False)))
    return make_dataclass(choice.__name__, [*defaults_last(keys), target])


def defaults_last(keys: Sequence[tuple[str, Any, Any]]) -> list[tuple[str, Any, Any]]:
    """The fields in an order that a dataclass accepts: fields without a default come first."""
    return sorted(keys, key=lambda key: has_default(key[2]))


def has_default(spec: Any) -> bool:
    """Whether a dataclass field has a default or a default factory."""
    return spec.default is not MISSING or spec.default_factory is not MISSING


def default_of(spec: Any) -> Any:
    """The default of a dataclass field that has one."""
    return spec.default_factory() if spec.default_factory is not MISSING else spec.default


def same_field(spec: Any) -> Any:
    """A new dataclass field with the default and the metadata of a field."""
    if spec.default_factory is not MISSING:
        return field(default_factory=spec.default_factory, metadata=spec.metadata)
    return field(default=spec.default, metadata=spec.metadata)


def path(choice: type) -> str:
    """The dotted path of a choice's class, which `_target_` holds."""
    return f"{choice.__module__}.{choice.__qualname__}"


def described(choice: type) -> dict[str, str]:
    """By key of a choice: the help of the key, followed by the allowed values in parentheses."""
    hints = get_type_hints(choice)
    return {
        spec.name: f"{spec.metadata['help']}{_parentheses(_allowed(hints[spec.name], spec.metadata))}"
        for spec in fields(choice)
        if spec.metadata.get("help")
    }


def _parentheses(text: str) -> str:
    return f" ({text})" if text else ""


def _allowed(hint: Any, metadata: Mapping[str, Any]) -> str:
    """The values that a key takes, in words; empty for free text."""
    kinds = list(alternatives(hint))
    words = [words for kind, words in PLAIN_TEXT.items() if metadata[kind]] or list(_kinds(kinds, metadata))
    return " or ".join([*words, "null"] if words and NoneType in kinds else words)


# By the kind of an option whose value is taken as the shell passes it: the words for what the key takes.
PLAIN_TEXT = {"folder": "a folder's name", "file": "a file's name", "text": "text"}


def _kinds(kinds: Sequence[Any], metadata: Mapping[str, Any]) -> Iterator[str]:
    bounds = bounds_in_words(metadata["bounds"])
    for kind in kinds:
        inner = (get_args(kind) or (kind,))[0]
        noun = _NUMBERS.get(inner, "")
        if metadata["choices"] is not None and inner is str:
            names = ", ".join(metadata["choices"])
            yield f"a list of {names}" if get_origin(kind) is list else f"one of {names}"
        elif kind is bool:
            yield "true or false"
        elif get_origin(kind) is list:
            count = f"{metadata['length']} " if metadata["length"] is not None else ""
            each = f", each {bounds}" if bounds else ""
            yield f"a list of {count}{noun or 'text'}s{each}".replace("texts", "words")
        elif noun:
            yield f"a {noun}{' ' + bounds if bounds else ''}"
        elif kind is str and len(kinds) > 1 and NoneType not in kinds:
            yield "a word"
