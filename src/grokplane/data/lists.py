"""Lists of tokens that are sorted, reversed or copied; the answer is predicted token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grokplane.answers import LabelSequence
from grokplane.data import draws, questions
from grokplane.data.mirrors import mirror_classes
from grokplane.data.table import Table
from grokplane.data.teacher_forcing import Population, TaughtTask, taught
from grokplane.options import ConfigError, checked, option

GROUP = "data"
MAKING = 6  # peak memory of building the table, measured, in units of the table's size
MOST_LISTS = 2**62


@dataclass(frozen=True)
class ListTask(TaughtTask):
    """Base of the tasks: all lists of K of V values as `x1 ... xK =`, and as answer a list of the same length.

    The values are tokens 0 to V - 1, and `=` is V.
    """

    split: Any = option(help="which lists train, see data/split")
    length: int = option(4, "number of tokens K of a list", at_least=1, at_most=1_000)
    values: int = option(10, "number of values V of a token", at_least=2, at_most=10_000)
    lists: int | None = option(
        None, "size of a random subset of the lists; null: all of them", at_least=2, stackable=True
    )
    train_fraction: float | None = option(0.5, "fraction of the lists for training", above=0, below=1, stackable=True)

    def __post_init__(self) -> None:
        if self.values**self.length > MOST_LISTS:
            most = max(length for length in range(1, 63) if self.values**length <= MOST_LISTS)
            raise ConfigError("data.length", self.length, f"must be at most {most} with {self.values} values")

    def answers(self, lists: Tensor) -> Tensor:
        """The answers [N, K] to lists [N, K]."""
        raise NotImplementedError(f"{type(self).__name__} has no answers")

    def mirrors(self, lists: Tensor, answers: Tensor) -> Tensor | None:  # noqa: ARG002 (the order matters)
        """Numbers [N] that lists with the same answer share whatever the order of their tokens; None: order matters."""
        return None

    def population(self, seed: int) -> Population:
        """Lists in lexicographic order; ConfigError for more lists than exist or than fit in memory."""
        row_bytes = MAKING * 3 * self.length * torch.int64.itemsize
        numbers = draws.rows_of("data.lists", self.lists, self.values**self.length, row_bytes, seed, "lists")
        lists = numbers[:, None] // self.values ** torch.arange(self.length - 1, -1, -1) % self.values
        return Population(lists, self.answers(lists), len(lists))

    def table_of(self, population: Population) -> Table:
        """See `TaughtTask`."""
        lists, answers, _ = population
        inputs, targets = self.write(lists, answers)
        vocabulary = self.values + 1
        return Table(
            inputs,
            targets,
            vocabulary,
            LabelSequence(vocabulary, self.length, fed_back=True),
            fixed={self.length: self.values},
            mirrors=self.mirrors(lists, answers),
            operands=lists,
            symbols=1,
        )

    def write(self, operands: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """See `TaughtTask`."""
        question = torch.cat([operands, torch.full_like(operands[:, :1], self.values)], 1)
        whole = [(tokens, torch.ones_like(tokens, dtype=torch.bool)) for tokens in (question, answers)]
        return taught(whole[0], whole[1], self.length, self.values)

    def ask(self, operands: Sequence[str]) -> Tensor:
        """The question of one list without its answer [K + 1]; ConfigError for other operands."""
        return torch.tensor([*questions.residues(operands, self.length, self.values), self.values])

    def spell(self, tokens: Sequence[int]) -> str:
        """A list as it is typed: `3,1,2`."""
        return ",".join("=" if token == self.values else str(token) for token in tokens)


@dataclass(frozen=True)
@checked
class Sort(ListTask):
    """Lists of K of V values in ascending order."""

    def answers(self, lists: Tensor) -> Tensor:
        """See `ListTask`."""
        return lists.sort(1).values

    def mirrors(self, lists: Tensor, answers: Tensor) -> Tensor | None:
        """Lists with the same tokens are mirrors of each other."""
        return mirror_classes(lists, answers)


@dataclass(frozen=True)
@checked
class Reverse(ListTask):
    """Lists of K of V values in reverse order."""

    def answers(self, lists: Tensor) -> Tensor:
        """See `ListTask`."""
        return lists.flip(1)


@dataclass(frozen=True)
@checked
class Copy(ListTask):
    """Lists of K of V values, repeated."""

    def answers(self, lists: Tensor) -> Tensor:
        """See `ListTask`."""
        return lists


CHOICES = {"sort": Sort, "reverse": Reverse, "copy": Copy}
