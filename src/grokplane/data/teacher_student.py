"""Regression on the outputs of a random network: the teacher-student setting of Liu et al. 2023, "Omnigrok"."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grokplane.answers import Numbers
from grokplane.data import questions
from grokplane.data.table import Examples, Table, own_seed
from grokplane.options import checked, option
from grokplane.random import generator
from grokplane.resources import check_fits
from grokplane.unread import Surroundings

GROUP = "data"
MAKING = 3  # peak memory of building points and teacher, in units of their size


@dataclass(frozen=True)
@checked
class TeacherStudent:
    """Standard normal points, with a random perceptron's outputs as targets; everything is drawn by the seed."""

    inputs: int = option(5, "number of features", at_least=1)
    hidden: list[int] = option([100, 100], "width of each hidden layer of the teacher", at_least=1)
    outputs: int = option(5, "number of outputs", at_least=1)
    activation: str = option(
        "Tanh", "activation function of the teacher", choices=["ReLU", "Tanh", "Sigmoid", "GELU", "LeakyReLU"]
    )
    train_points: int = option(100, "number of training points", at_least=1, stackable=True)
    test_points: int = option(1_000, "number of held-out points", at_least=1, stackable=True)
    tolerance: float = option(1e-3, "squared error, mean over outputs, below which an answer is right", above=0)
    seed: int | None = own_seed()

    def unread(self, around: Surroundings) -> dict[str, str]:  # noqa: ARG002 (its own keys decide)
        """See `grokplane.unread`."""
        return {} if self.hidden else {"activation": "the teacher has no hidden layer"}

    def table(self, seed: int) -> Table:
        """The training points, then the held-out points; inputs [N, inputs] and targets [N, outputs] in float64.

        Raises:
            ConfigError: points or a teacher that do not fit in memory.
        """
        self._check_fits()
        counts = (self.train_points, self.test_points)
        streams = [generator(seed, "points", number) for number in range(2)]
        points = torch.cat(
            [
                torch.randn(count, self.inputs, generator=stream, dtype=torch.float64)
                for count, stream in zip(counts, streams, strict=True)
            ]
        )
        return Table(points, self._answers(points, seed), None, Numbers(self.outputs, self.tolerance))

    def _check_fits(self) -> None:
        widths = [self.inputs, *self.hidden, self.outputs]
        weights = sum((a + 1) * b for a, b in pairwise(widths))
        check_fits("data.hidden", self.hidden, weights, MAKING * 8, "a teacher of {} weights")
        name = max(("train_points", "test_points"), key=lambda key: getattr(self, key))
        rows = self.train_points + self.test_points
        check_fits(f"data.{name}", getattr(self, name), rows, MAKING * 8 * (self.inputs + self.outputs))

    def examples(self, seed: int) -> Examples:
        """The first `train_points` rows train, the others are held out."""
        table = self.table(seed)
        train, test = torch.arange(len(table.targets)).split([self.train_points, self.test_points])
        return Examples(table, train, test, table.targets[train])

    def teacher(self, seed: int) -> list[tuple[Tensor, Tensor]]:
        """Weight [out, in] and bias [out] of each layer in float64, uniform in +-1/sqrt(in) as in torch.nn.Linear."""
        random, layers = generator(seed, "task"), []
        for fan_in, fan_out in pairwise([self.inputs, *self.hidden, self.outputs]):
            uniform = torch.rand(fan_out, fan_in + 1, generator=random, dtype=torch.float64)
            drawn = (2 * uniform - 1) * fan_in**-0.5
            layers.append((drawn[:, :-1], drawn[:, -1]))
        return layers

    def _answers(self, points: Tensor, seed: int) -> Tensor:
        activation = getattr(nn, self.activation)()
        *hidden, last = self.teacher(seed)
        for weight, bias in hidden:
            points = activation(F.linear(points, weight, bias))
        return F.linear(points, *last)

    def ask(self, operands: Sequence[str]) -> Tensor:
        """One point [inputs] float64; ConfigError if the operands are not that many finite numbers."""
        return torch.tensor(questions.numbers(operands, self.inputs), dtype=torch.float64)


CHOICES = {"teacher_student": TeacherStudent}
