"""Named groups of points, for which losses and accuracies are logged beside those of the whole subset."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.data.mirrors import unseen
from grokplane.data.table import Examples
from grokplane.options import ConfigError


@dataclass(frozen=True, eq=False)
class Group:
    """A group of one member's points.

    Attributes:
        subset: "train", "test" or "ood".
        points: which points of the subset belong to the group [n], bool; none is allowed.
    """

    subset: str
    points: Tensor


@dataclass(frozen=True, eq=False)
class StackedGroup:
    """A group of points in a stack.

    Attributes:
        subset: "train", "test" or "ood".
        points: which points belong to the group [E, n], bool, padding included (mask it).
        members: whether each member has the group; `points` is false for members without.
    """

    subset: str
    points: Tensor
    members: Sequence[bool]


def groups(examples: Examples) -> dict[str, Group]:
    """One member's groups by the name that metrics carry: `unseen`, `train/clean`, `test/NAME`.

    Besides the groups of the examples, and those of the table in the subsets where they have points, these are
    `unseen`, the held-out questions without a mirror in training, for a table with mirrors; and with label noise
    `train/clean` and `train/corrupted`.

    Raises:
        ConfigError: a group whose name is taken or cannot be part of a metric's name, or that has not one flag a point.
    """
    rows = examples.subsets
    found = {} if examples.table.mirrors is None else {"unseen": Group("test", unseen(examples))}
    of_table = examples.table.groups.items()
    named = [(subset, name, flags[own]) for name, flags in of_table for subset, own in rows.items() if flags[own].any()]
    named += [(subset, name, flags) for subset, some in examples.groups.items() for name, flags in some.items()]
    corrupted = _corrupted(examples)
    if bool(corrupted.any()):
        named += [("train", "clean", ~corrupted), ("train", "corrupted", corrupted)]
    for subset, name, flags in named:
        key = f"{subset}/{name}"
        if not re.fullmatch(r"[\w.+-]+", name) or key in found:
            raise ConfigError("data", key, "a group of points needs a name of its own: letters, digits and . + - _")
        if subset not in rows or flags.dtype != torch.bool or flags.shape != rows[subset].shape:
            raise ConfigError(
                "data", key, "a group must be of train, test or ood, with one bool for each of the points"
            )
        found[key] = Group(subset, flags)
    return found


def _corrupted(examples: Examples) -> Tensor:
    """Which training points [n] have a target that is not the answer of the table."""
    differ = examples.train_targets != examples.table.targets[examples.train]
    return differ.reshape(len(differ), -1).any(1)
