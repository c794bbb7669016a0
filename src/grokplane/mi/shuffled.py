"""Base class of estimators that compare pairs with shuffled pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from grokplane.mi.base import Array, Estimate, check_count, over_batch, samples
from grokplane.mi.ceiling import bounded
from grokplane.mi.entropy import nothing
from grokplane.mi.ties import continuous
from grokplane.options import check_options
from grokplane.random import generator


class AgainstShuffles:
    """Base of an estimator whose dataclass declares the keys `k`, `shuffles` and `seed`."""

    k: int
    shuffles: int
    seed: int

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, x: Array, y: Array) -> Estimate:
        """Mutual information of x [..., N, dx] and y [..., N, dy] in nats; all leading axes share the shuffles.

        Raises:
            ValueError: for linearly dependent x and y (infinite information), or too few distinct rows.
        """
        return over_batch(bounded(self._one, type(self).__name__), samples(x, "x"), samples(y, "y"))

    def _one(self, x: Tensor, y: Tensor) -> Estimate:
        x, y = continuous(x, y, full_rank=True)
        if x.shape[1] == 0 or y.shape[1] == 0:
            return nothing(x)
        check_count(len(x), self.k + 1, f"the set of distinct rows (k={self.k})")
        return self._compared(x, y)

    def _compared(self, x: Tensor, y: Tensor) -> Estimate:
        """The estimate for distinct pairs x [N, dx], y [N, dy] of full rank."""
        raise NotImplementedError(f"{type(self).__name__} does not implement _compared")

    def _orders(self, x: Tensor) -> list[Tensor]:
        """Random permutations of the N rows of x, one per shuffle."""
        stream = generator(self.seed, "shuffled pairs")
        return [torch.randperm(len(x), generator=stream).to(x.device) for _ in range(self.shuffles)]
