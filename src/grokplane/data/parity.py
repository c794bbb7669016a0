"""Sparse parity as a task: Barak et al. 2022, "Hidden Progress in Deep Learning: SGD Learns Parities Near the
Computational Limit" (arXiv 2207.08799).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grokplane.answers import Labels, Signs
from grokplane.data import draws, questions
from grokplane.data.split_task import SplitTask
from grokplane.data.table import Table
from grokplane.options import ConfigError, checked, option
from grokplane.random import generator, numpy_generator
from grokplane.resources import check_fits

GROUP = "data"
MAKING = 6  # peak memory of building the table, measured, in units of the table's size
# Only this many leading bits of the points are made distinct, so that they form a number in int64.
NUMBERED = 62
OUTPUTS = ("classes", "sign")


@dataclass(frozen=True)
@checked
class Parity(SplitTask):
    """Random points of {-1, 1}^bits; class 1 if an odd number of the relevant bits is -1, else class 0.

    As a sign the answer is the product of the relevant bits: -1 for class 1, 1 for class 0.
    """

    split: Any = option(help="which points train: data/split=random, balanced, label_holdout or ordered")
    bits: int = option(40, "number of bits of a point", at_least=1, at_most=10_000)
    relevant: int = option(3, "number of bits, drawn by the seed, that decide the answer", at_least=1)
    points: int = option(2_000, "number of points, training and held out together", at_least=2)
    train_fraction: float | None = option(0.5, "fraction of the points for training", above=0, below=1, stackable=True)
    output: str = option(
        "classes", "answers: two classes, or the sign of one output (loss=hinge or loss=mse)", choices=OUTPUTS
    )

    def table(self, seed: int) -> Table:
        """Distinct points in the order in which they are drawn; inputs [points, bits] float32, labels 0 and 1 or signs.

        Raises:
            ConfigError: more relevant bits than bits, or more points than exist or fit in memory.
        """
        relevant, inputs = self.relevant_bits(seed), self._points(seed)
        labels = (inputs[:, relevant] < 0).sum(1) % 2
        if self.output == "sign":
            return Table(inputs, 1 - 2 * labels, vocabulary=None, answers=Signs())
        return Table(inputs, labels, vocabulary=None, answers=Labels(2))

    def relevant_bits(self, seed: int) -> Tensor:
        """The bits that determine the answer [relevant] int64, ascending.

        Raises:
            ConfigError: more relevant bits than bits.
        """
        if self.relevant > self.bits:
            raise ConfigError("data.relevant", self.relevant, f"must be at most {self.bits}, the number of bits")
        return torch.randperm(self.bits, generator=generator(seed, "task"))[: self.relevant].sort().values

    def _points(self, seed: int) -> Tensor:
        if self.points > 2**self.bits:
            allowed = f"must be at most {2**self.bits}, the number of points of {self.bits} bits"
            raise ConfigError("data.points", self.points, allowed)
        check_fits("data.points", self.points, self.points, MAKING * (self.bits * 4 + 8))
        random, numbered = numpy_generator(seed, "points"), min(self.bits, NUMBERED)
        numbers = torch.from_numpy(draws.distinct(2**numbered, self.points, random))
        first = (numbers[:, None] >> torch.arange(numbered)) & 1
        rest = torch.from_numpy(random.integers(2, size=(self.points, self.bits - numbered)))
        return 1 - 2 * torch.cat([first, rest], 1).float()

    def ask(self, operands: Sequence[str]) -> Tensor:
        """One point [bits] float32 from its bits, 1 and -1; ConfigError for other operands."""
        values = questions.numbers(operands, self.bits)
        if not set(values) <= {1.0, -1.0}:
            raise questions.refused(operands, "bits must be 1 or -1")
        return torch.tensor(values)


CHOICES = {"parity": Parity}
