"""Grouping members into stacks: members that differ only in stackable keys and are at the same step."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any

from grokplane import config
from grokplane.train import Member


def signature(settings: Mapping[str, Any]) -> Hashable:
    """The settings that two members must share to form one stack; equal where `train.check_stackable` accepts them.

    Args:
        settings: a member's config as plain dicts, see `grokplane.app.session.plain`.
    """
    shared = [key for key in config.MEMBER_KEYS if not _stackable(Member)[key]]
    choices = {path: choice for (_, path), choice in config.targets().items()}
    return tuple(_fixed(settings[key], choices) for key in shared)


def grouped(signatures: Sequence[Hashable], at_most: Callable[[list[int]], int]) -> list[list[int]]:
    """Indices of members grouped by signature, in order of first occurrence, each group split into even parts.

    Args:
        signatures: one per member.
        at_most: returns how many members of a group one stack may have.
    """
    groups: dict[Hashable, list[int]] = {}
    for position, one in enumerate(signatures):
        groups.setdefault(one, []).append(position)
    return [part for group in groups.values() for part in evenly(group, at_most(group))]


def evenly(group: list[int], at_most: int) -> list[list[int]]:
    """As few parts as possible, none larger than `at_most`, with sizes that differ by at most one."""
    count = -(-len(group) // max(1, at_most))
    bounds = [len(group) * number // count for number in range(count + 1)]
    return [group[start:stop] for start, stop in itertools.pairwise(bounds)]


def _fixed(value: Any, choices: Mapping[str, type]) -> Hashable:
    """A config value without its stackable keys, in hashable form; the order of a mapping matters.

    Args:
        value: the value.
        choices: every choice by its `_target_`, those of plug-ins included.
    """
    if isinstance(value, Mapping):
        choice = choices.get(str(value.get("_target_", "")))
        stackable = {} if choice is None else _stackable(choice)
        kept = {key: part for key, part in value.items() if not stackable.get(key, False)}
        return tuple((key, _fixed(part, choices)) for key, part in kept.items())
    if isinstance(value, list | tuple):
        return tuple(_fixed(part, choices) for part in value)
    return type(value).__name__, value


@cache
def _stackable(choice: type) -> dict[str, bool]:
    """For each key of a choice, whether members of one stack may differ in it."""
    return {spec.name: spec.metadata.get("stackable", False) for spec in fields(choice)}
