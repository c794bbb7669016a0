"""What a task hands over: every question with its answer, and one member's share of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from grokplane.answers import Answers


@dataclass(frozen=True, eq=False)
class Table:
    """Every question of a task and its answer, in the task's own order (operand order for operations).

    Attributes:
        inputs: tokens [N, L] int64, or continuous features [N, ...] of a floating dtype.
        targets: class labels [N] int64, numbers [N, C] of a floating dtype, or sequences of labels [N, T] int64.
        vocabulary: number of token kinds; None for continuous features.
        answers: the kind of the targets, which says what outputs are worth against them.
        fixed: tokens by position that no question is without, whatever its operands (`op`, `=`).
        population: gives all inputs [M, ...] of the set that a drawn table is a part of; None: the table is the set.
        mirrors: numbers [N] int64 that questions share which are the same up to the order of interchangeable operands;
            None: the order of operands matters, or there are none.
        groups: named groups of rows [N], bool, which may overlap: losses and accuracies of each are logged for both
            subsets, as `Acc/train/NAME` and `Acc/test/NAME`.
    """

    inputs: Tensor
    targets: Tensor
    vocabulary: int | None
    answers: Answers
    fixed: Mapping[int, int] = field(default_factory=dict)
    population: Callable[[], Tensor] | None = None
    mirrors: Tensor | None = None
    groups: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Examples:
    """One member's data.

    Attributes:
        table: all questions; its targets are the clean answers.
        train: rows of the training subset [n] int64.
        test: rows of the held-out subset [m] int64.
        train_targets: answers of the training subset [n, ...], label noise applied.
        groups: further groups that depend on the split: by subset, "train" or "test", then by name, which points of
            the subset [n] belong to the group, bool.
    """

    table: Table
    train: Tensor
    test: Tensor
    train_targets: Tensor
    groups: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)


class Task(Protocol):
    """A choice of the config group `data`."""

    def table(self, seed: int) -> Table:
        """All questions and clean answers; the seed matters only where the task itself is drawn."""
        ...

    def examples(self, seed: int) -> Examples:
        """The table, split and with label noise, for a member with this seed."""
        ...

    def ask(self, operands: Sequence[str]) -> Tensor:
        """One question [L] as the table writes it, from what a user types ("3,4" split at the comma).

        Raises:
            ConfigError: operands that are too many or too few, out of range or no numbers.
        """
        ...
