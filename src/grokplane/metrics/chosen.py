"""Some points of a subset, chosen at random, for metrics that are too expensive for all of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.metrics.subset import Subset
from grokplane.random import Counters


@dataclass(frozen=True, eq=False)
class Chosen:
    """Some points of a subset.

    Attributes:
        subset: the subset.
        index: their positions in the subset [E, P] int64.
        mask: which of them are real [E, P]; a member with fewer than P points has padding behind them.
    """

    subset: Subset
    index: Tensor
    mask: Tensor

    def of(self, values: Tensor) -> Tensor:
        """Their values [E, P, ...] among those of the subset [E, n, ...]."""
        return values[torch.arange(len(values), device=values.device)[:, None], self.index]

    @property
    def inputs(self) -> Tensor:
        """Their inputs [E, P, ...]."""
        return self.of(self.subset.inputs)

    @property
    def part(self) -> slice:
        """Points of the subset with the same mask, for `Source.run`."""
        return slice(0, self.index.shape[1])


def chosen(subset: Subset, count: int, seed: int) -> Chosen:
    """At most `count` points of every member.

    Each point has a random number, a hash of the seed and its position in the subset, and the points with the smallest
    numbers are chosen. So the choice does not depend on the other members and is the same at every log point.

    Args:
        subset: the points.
        count: the largest number of points.
        seed: seed of the random numbers.
    """
    keys = Counters([seed], "chosen points").bits(0, subset.mask.shape[1], subset.mask.device).long()
    order = keys.expand_as(subset.mask).masked_fill(~subset.mask, 2**40).argsort(1)[:, :count]
    return Chosen(subset, order, subset.mask.gather(1, order))
