"""The split by answers: every answer has the same share of its questions in training."""

from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.data.splits import train_count
from grokplane.data.table import Table
from grokplane.options import ConfigError
from grokplane.random import generator

GROUP = "data/split"


@dataclass(frozen=True)
class BalancedSplit:
    """A random fraction of the questions of every answer trains (stratified by the answer).

    The number of training questions is that of RandomSplit. An answer has its exact share of them, rounded up or down
    (`shares`); only which of its questions train depends on the seed. With the same seed, a larger fraction contains a
    smaller one if all answers are equally frequent. Otherwise an answer may have one question less at a larger
    fraction, as with any rounding by largest remainders (the Alabama paradox).
    """

    def __call__(self, table: Table, fraction: float | None, seed: int) -> tuple[Tensor, Tensor]:
        """Rows (train [n], test [m]); errors as for RandomSplit.

        Raises:
            ConfigError: answers that are numbers.
        """
        classes = table.answers.as_classes(table.targets)
        if classes is None:
            allowed = "needs answers that are classes, and this task's are numbers; use data/split=random"
            raise ConfigError("data/split", "balanced", allowed)
        count = train_count(len(table.targets), fraction)
        order = torch.randperm(len(table.targets), generator=generator(seed, "split"))
        sizes = classes.labels.bincount(minlength=classes.number)
        trains = _places(classes.labels[order], sizes) < shares(sizes, count)[classes.labels[order]]
        return order[trains], order[~trains]


def shares(sizes: Tensor, count: int) -> Tensor:
    """Distribute `count` places over groups in proportion to their sizes [C] int64, by largest remainders.

    Every group has its exact share, count * size / sum of sizes, rounded down; the places that are left go to the
    largest remainders, of equal ones to the first (Hamilton's method of apportionment).
    """
    exact, total = count * sizes, int(sizes.sum())
    places = exact // total
    order = (exact % total).argsort(descending=True, stable=True)
    places[order[: count - int(places.sum())]] += 1
    return places


def _places(labels: Tensor, sizes: Tensor) -> Tensor:
    """Each entry's place [N] among the entries with its label, 0 for the first."""
    order, starts = labels.argsort(stable=True), sizes.cumsum(0) - sizes
    places = torch.empty_like(labels)
    places[order] = torch.arange(len(labels)) - starts[labels[order]]
    return places


CHOICES = {"balanced": BalancedSplit}
