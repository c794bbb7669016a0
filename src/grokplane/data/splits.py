"""Splits into training and held-out questions: the choices of the config group `data/split`.

A split is called as `split(table, fraction, seed)` and returns rows (train [n], test [m]) of the table, int64. A
fraction of N questions is computed in decimal and rounded down: 30% of 2,809 is 842, 0.29 of 100 is 29.
"""

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from grokplane.answers import Labels
from grokplane.data.table import Table
from grokplane.options import ConfigError, checked, option
from grokplane.random import generator

GROUP = "data/split"


@dataclass(frozen=True)
class RandomSplit:
    """A random fraction trains, the rest is held out; with the same seed, a larger fraction contains a smaller one."""

    def __call__(self, table: Table, fraction: float | None, seed: int) -> tuple[Tensor, Tensor]:
        """Rows (train [n], test [m]); ConfigError for a fraction that is null or leaves a subset empty."""
        count = train_count(len(table.targets), fraction)
        rows = torch.randperm(len(table.targets), generator=generator(seed, "split"))
        return rows[:count], rows[count:]


@dataclass(frozen=True)
class UnorderedSplit:
    """A random fraction trains; mirrored questions (a, b) and (b, a) are in the same subset.

    The classes of mirrored questions are put in random order, and the first ones train. Their number brings the number
    of questions as near to the fraction as whole classes allow, with at least one class in each subset; of two equally
    near numbers the larger is used. With pairs that is the number of RandomSplit or one more. With the same seed, a
    larger fraction contains a smaller one.
    """

    def __call__(self, table: Table, fraction: float | None, seed: int) -> tuple[Tensor, Tensor]:
        """Rows (train [n], test [m]); errors as for RandomSplit.

        Raises:
            ConfigError: a table on which the order of operands matters, or with only one class.
        """
        if table.mirrors is None:
            allowed = "needs operands that can be swapped, and this task's answers depend on their order"
            raise ConfigError("data/split", "unordered", f"{allowed}; use data/split=random")
        wanted = train_count(len(table.targets), fraction)
        _, classes, sizes = table.mirrors.unique(return_inverse=True, return_counts=True)
        order = torch.randperm(len(sizes), generator=generator(seed, "split"))
        cuts = sizes[order].cumsum(0)[:-1].flip(0)  # of two equally near numbers the larger comes first
        if len(cuts) == 0:
            allowed = "needs questions that do not all mirror each other; use data/split=random"
            raise ConfigError("data/split", "unordered", allowed)
        count = int(cuts[(cuts - wanted).abs().argmin()])
        rows = order.argsort()[classes].argsort(stable=True)
        return rows[:count], rows[count:]


@dataclass(frozen=True)
class OrderedSplit:
    """The first fraction in the table's order (by first operand, then second) trains, the rest is held out."""

    def __call__(self, table: Table, fraction: float | None, seed: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Rows (train [n], test [m]), independent of the seed; errors as for RandomSplit."""
        count = train_count(len(table.targets), fraction)
        rows = torch.arange(len(table.targets))
        return rows[:count], rows[count:]


@dataclass(frozen=True)
@checked
class LabelHoldout:
    """Questions with a held-out answer form the test subset, and are never trained on."""

    labels: list[int] = option([], "answers that are held out, besides those of `below`", at_least=0)
    below: int | None = option(20, "answers below this are held out; null for none", at_least=1)

    def __call__(self, table: Table, fraction: float | None, seed: int) -> tuple[Tensor, Tensor]:
        """Rows (train [n], test [m]); train is that fraction of the other questions, or all of them for null.

        Raises:
            ConfigError: answers that are no labels, a hold-out that matches no answer or all answers, or a fraction
                that gives no training question.
        """
        if not isinstance(table.answers, Labels):
            raise ConfigError(
                "data/split", "label_holdout", "needs answers that are single labels; use data/split=random"
            )
        held = self._held_out(table.targets)
        test, others = torch.nonzero(held).flatten(), torch.nonzero(~held).flatten()
        if fraction is None:
            return others, test
        count = train_count(len(others), fraction, held_out=len(test))
        return others[torch.randperm(len(others), generator=generator(seed, "split"))[:count]], test

    def _held_out(self, targets: Tensor) -> Tensor:
        known = set(targets.unique().tolist())
        below = {label for label in known if self.below is not None and label < self.below}
        allowed = f"the answers are {min(known)} to {max(known)}"
        if not set(self.labels) <= known:
            missing = ", ".join(str(label) for label in sorted(set(self.labels) - known))
            raise ConfigError("data.split.labels", self.labels, f"no question has the answer {missing}; {allowed}")
        if not below and (self.below is not None or not self.labels):
            raise ConfigError("data.split.below", self.below, f"must hold out at least one label; {allowed}")
        if below | set(self.labels) == known:
            key = "below" if below == known else "labels"
            raise ConfigError(f"data.split.{key}", getattr(self, key), f"must leave labels to train on; {allowed}")
        return torch.isin(targets, torch.tensor(sorted(below | set(self.labels))))


def part_of(total: int, fraction: float) -> int:
    """The fraction of `total`, computed in decimal and rounded down: in binary 0.29 x 100 would give 28."""
    return int(Fraction(str(fraction)) * total)


def given(fraction: float | None) -> float:
    """The fraction; ConfigError if it is null."""
    if fraction is None:
        raise ConfigError("data.train_fraction", None, "this split needs a number above 0 and below 1")
    return fraction


def train_count(total: int, fraction: float | None, held_out: int = 0) -> int:
    """The number of training questions.

    Args:
        total: number of questions to choose from.
        fraction: the share that trains.
        held_out: number of questions in the test subset for any fraction.

    Raises:
        ConfigError: no fraction, or a fraction that leaves a subset empty.
    """
    fraction = given(fraction)
    count = part_of(total, fraction)
    if count < 1 or total - count + held_out < 1:
        subset = "training" if count < 1 else "held-out"
        raise ConfigError("data.train_fraction", fraction, f"leaves the {subset} subset of {total} questions empty")
    return count


CHOICES = {"random": RandomSplit, "unordered": UnorderedSplit, "label_holdout": LabelHoldout, "ordered": OrderedSplit}
