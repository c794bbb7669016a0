"""Plain addition of two numbers as a task: the toy problem of Liu et al. 2022 (arXiv 2205.10343)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grokplane.answers import Labels
from grokplane.data import questions
from grokplane.data.split_task import SplitTask
from grokplane.data.table import Table
from grokplane.options import checked, option

GROUP = "data"


@dataclass(frozen=True)
@checked
class Addition(SplitTask):
    """Unordered pairs of the numbers 0 to p - 1 and their sums, without a modulus; the classes are the 2p - 1 sums."""

    split: Any = option(help="which pairs train: data/split=random, balanced, curriculum, label_holdout or ordered")
    p: int = option(10, "the numbers are 0 to p - 1", at_least=2, at_most=2_000)
    train_fraction: float | None = option(0.8, "fraction of the pairs for training", above=0, below=1, stackable=True)

    def table(self, seed: int) -> Table:  # noqa: ARG002 (nothing is drawn)
        """The p (p + 1) / 2 pairs (a, b) with a <= b [N, 2], in the order of the operands."""
        pairs = torch.combinations(torch.arange(self.p), with_replacement=True)
        return Table(pairs, pairs.sum(1), self.p, Labels(2 * self.p - 1), operands=pairs)

    def ask(self, operands: Sequence[str]) -> Tensor:
        """The question of two numbers, tokens [2] int64; ConfigError if the operands are not such a pair."""
        return torch.tensor(questions.residues(operands, 2, self.p))


CHOICES = {"addition": Addition}
