"""What a task hands over: every question with its answer, and one member's share of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from grokplane.answers import Answers
from grokplane.operand_group import OperandGroup
from grokplane.options import option


def own_seed() -> Any:
    """The key `data.seed`, which every task has."""
    return option(None, "seed of the task, split and label noise; null: the run's seed", at_least=0, stackable=True)


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
        groups: named groups of rows [N], bool, which may overlap: losses and accuracies of each are logged for all
            subsets, as `Acc/train/NAME` and `Acc/test/NAME`.
        parts: names of the groups that are tasks of their own: their information is measured too, and the steps at
            which they are fitted and generalise are recorded.
        operands: operands [N, K] int64 as numbers, for splits by the operands; None: there are none.
        symbols: number of the token kinds, the last ones, that are no operands (`op`, `=`, padding).
        cosets: for operands that are the n elements of a group: from generators of a subgroup H to the number of each
            element's left coset of H [n] int64, from 0 on; it raises ConfigError for generators that are no elements.
            None: the operands are no group.
        group: the group whose elements `operands` and answers are, for the Fourier diagnostics; None: there is none.
    """

    inputs: Tensor
    targets: Tensor
    vocabulary: int | None
    answers: Answers
    fixed: Mapping[int, int] = field(default_factory=dict)
    population: Callable[[], Tensor] | None = None
    mirrors: Tensor | None = None
    groups: Mapping[str, Tensor] = field(default_factory=dict)
    parts: Sequence[str] = ()
    operands: Tensor | None = None
    symbols: int = 0
    cosets: Callable[[Sequence[int]], Tensor] | None = None
    group: OperandGroup | None = None


@dataclass(frozen=True, eq=False)
class Examples:
    """One member's data.

    Attributes:
        table: all questions; its targets are the clean answers.
        train: rows of the training subset [n] int64.
        test: rows of the held-out subset [m] int64.
        ood: rows of the out-of-domain subset [o] int64, a third subset for which everything is measured; None: there
            is none.
        train_targets: answers of the training subset [n, ...], label noise applied.
        groups: further groups that depend on the split: by subset (train, test, ood), then by name, which points of
            the subset [n] belong to the group, bool.
    """

    table: Table
    train: Tensor
    test: Tensor
    train_targets: Tensor
    groups: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    ood: Tensor | None = None

    @property
    def subsets(self) -> dict[str, Tensor]:
        """The rows of each subset by name: train, test, ood."""
        found = {"train": self.train, "test": self.test}
        return found if self.ood is None else found | {"ood": self.ood}


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

        If the inputs contain the answer, the question [K] without it.

        Raises:
            ConfigError: operands that are too many or too few, out of range or no numbers.
        """
        ...
