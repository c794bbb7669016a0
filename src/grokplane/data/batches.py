"""Index streams: the training points of each step.

Streams have no state: the batch of a step is a function of (seed, n, batch size, step) only. So a resumed run needs no
stored state, and a member sees the same batches in any stack. Full batches need no stream.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from grokplane.options import ConfigError
from grokplane.random import generator


class Batches(Protocol):
    """One member's index stream."""

    def indices(self, start: int, stop: int) -> Tensor:
        """Positions in the member's training subset, [stop - start, B] int64, for steps start..stop-1."""
        ...


class Shuffled:
    """Epochs, each a permutation of the n points, cut into batches of B.

    Every batch is full, so an epoch may end within a batch.
    """

    def __init__(self, seed: int, n: int, batch_size: int) -> None:
        """Batches of `batch_size` out of n points; ConfigError if there are fewer points than that."""
        check_batch_size(n, batch_size)
        self._seed, self._n, self._batch_size = seed, n, batch_size
        self._current: tuple[int, Tensor] = (-1, torch.empty(0))

    def indices(self, start: int, stop: int) -> Tensor:
        """Positions [stop - start, B] int64 for steps start..stop-1."""
        if start == stop:
            return torch.empty(0, self._batch_size, dtype=torch.int64)
        begin, end = start * self._batch_size, stop * self._batch_size
        first, last = begin // self._n, (end - 1) // self._n
        points = torch.cat([self._epoch(epoch) for epoch in range(first, last + 1)])
        return points[begin - first * self._n : end - first * self._n].reshape(-1, self._batch_size)

    def _epoch(self, epoch: int) -> Tensor:
        if self._current[0] != epoch:
            random = generator(self._seed, "batches", epoch)
            self._current = epoch, torch.randperm(self._n, generator=random)
        return self._current[1]


class WithReplacement:
    """Batches of points drawn uniformly and independently from the n points."""

    BLOCK = 64  # number of steps drawn from one generator; another number gives other batches

    def __init__(self, seed: int, n: int, batch_size: int) -> None:
        """Batches of `batch_size` out of n points; ConfigError if there are fewer points than that."""
        check_batch_size(n, batch_size)
        self._seed, self._n, self._batch_size = seed, n, batch_size
        self._current: tuple[int, Tensor] = (-1, torch.empty(0))

    def indices(self, start: int, stop: int) -> Tensor:
        """Positions [stop - start, B] int64 for steps start..stop-1."""
        if start == stop:
            return torch.empty(0, self._batch_size, dtype=torch.int64)
        first, last = start // self.BLOCK, (stop - 1) // self.BLOCK
        steps = torch.cat([self._block(block) for block in range(first, last + 1)])
        return steps[start - first * self.BLOCK : stop - first * self.BLOCK]

    def _block(self, block: int) -> Tensor:
        if self._current[0] != block:
            random = generator(self._seed, "batches", block)
            self._current = block, torch.randint(self._n, (self.BLOCK, self._batch_size), generator=random)
        return self._current[1]


def check_batch_size(n: int, batch_size: int) -> None:
    """Raise ConfigError for a batch that is empty or larger than the number n of training points."""
    if not 1 <= batch_size <= n:
        raise ConfigError("train.batch_size", batch_size, f"must be full or 1 to {n}, the number of training points")


SAMPLERS = {"shuffled": Shuffled, "replacement": WithReplacement}
