"""Sums of a Gaussian kernel and of its fourth power over all pairs of a sample, in one pass."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from grokplane.mi.pairs import EPS, Tile, centred, factors, squared_gaps, tiles

NEGLIGIBLE = 46.0  # exponent beyond which a pair is left out: exp(-46) is 1e-20
ERROR = 1e-9  # of a mean log density, that matrix products may cause
SPARSE = 0.1  # share of pairs of a tile that weigh, up to which they are singled out
TOGETHER = 2**14  # such pairs, from which on they are summed


def merged(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [M, d] among which equal ones of x [N, d] stand once, in any order, and how often each stood there [M].

    Equal rows have equal projections on any line and so are next to each other in its order.
    """
    key, order = (x @ torch.arange(1.0, x.shape[1] + 1, dtype=x.dtype, device=x.device).cos()).sort()
    if not bool((key[1:] == key[:-1]).any()):
        return x, x.new_ones(len(x))
    rows = x[order]
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = (rows[1:] != rows[:-1]).any(1)
    return rows[first], torch.bincount(first.cumsum(0) - 1).to(x)


def densities(x: Tensor, weight: Tensor, scale: float) -> Tensor:
    """sum_j weight_j exp(-c scale |x_i - x_j|^2) [2, N] for c = 1 and c = 4, for rows x [N, d] and weights >= 1."""
    middle = centred(x)
    left, right = factors(middle, -scale)
    sums = _Sums(x, weight, scale, middle.square().sum(1) * scale, len(left))
    for tile in tiles(left, right):
        sums.add(tile)
    single, fourth = sums.total()[:, : len(x)].clamp(1, float(weight.sum()))
    return torch.stack([single, torch.minimum(single, fourth)])  # equal but for round-off where the rows are


class _Sums:
    """The densities so far; how tiles are summed depends on how many pairs weigh and how exact the products are."""

    def __init__(self, x: Tensor, weight: Tensor, scale: float, norm: Tensor, padded: int) -> None:
        error = (x.shape[1] + 2) ** 0.5 * EPS
        self._exact = 4 * error * float((2 * norm.sqrt() + 7).square().mean()) <= ERROR
        self._certain = 8 * error * float(norm.amax()) <= 1  # which pairs weigh
        self._x, self._scale = x, scale
        self._weight = torch.nn.functional.pad(weight, (0, padded - len(x)))
        self._total = x.new_zeros(2, padded)
        self._few: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, tile: Tile) -> None:
        """Take the pairs of a tile, whose values are -scale |x_i - x_j|^2, and spoil it."""
        if not self._certain:
            self._by_differences(tile)
        own = min(tile.own, max(0, len(self._x) - tile.rows.start))
        tile.values[:own, :own].fill_diagonal_(0)
        heavy = self._heavy(tile.values)
        if heavy is not None:
            self._put_by(tile, heavy)
            return
        if self._certain and not self._exact:
            self._by_differences(tile)
        kernel = _exp_(tile.values)
        self._collect(tile, kernel, self._total[0])
        self._collect(tile, kernel.square_().square_(), self._total[1])

    def total(self) -> Tensor:
        """Both densities of each padded row [2, M], after the last tile."""
        if self._few:
            self._add_few()
        return self._total

    def _collect(self, tile: Tile, kernel: Tensor, total: Tensor) -> None:
        total[tile.rows] += kernel @ self._weight[tile.columns]
        total[tile.columns][tile.own :] += self._weight[tile.rows] @ kernel[:, tile.own :]

    def _by_differences(self, tile: Tile) -> None:
        a, b = self._x[tile.rows], self._x[tile.columns]
        tile.values.fill_(-torch.inf)
        torch.mul(squared_gaps(a, b), -self._scale, out=tile.values[: len(a), : len(b)])

    def _heavy(self, values: Tensor) -> Tensor | None:
        """The places, in the flat tile, of pairs that weigh; None where they are many. On a CPU only."""
        if values.device.type != "cpu":
            return None
        mask = np.greater_equal(values.numpy(), -NEGLIGIBLE)
        if np.count_nonzero(mask) > SPARSE * mask.size:
            return None
        words = np.flatnonzero(mask.reshape(-1).view(np.uint64))  # eight at a time
        places = (8 * words[:, None] + np.arange(8))[mask.reshape(-1, 8)[words]]
        return torch.from_numpy(places)

    def _put_by(self, tile: Tile, heavy: Tensor) -> None:
        width = tile.values.shape[1]
        row, column = heavy // width + tile.rows.start, heavy % width + tile.columns.start
        self._few.append((row, column, tile.values.view(-1)[heavy]))
        if sum(len(part[0]) for part in self._few) > TOGETHER:
            self._add_few()

    def _add_few(self) -> None:
        """Take the pairs put by: those of one tile are too few to be worth the calls."""
        row, column, values = map(torch.cat, zip(*self._few, strict=True))
        self._few.clear()
        once, mirrored = column >= row, column > row
        if not self._exact:
            values = (self._x[row] - self._x[column]).square_().sum(1) * -self._scale
        for power, total in ((1, self._total[0]), (4, self._total[1])):
            kernel = (power * values).exp_()
            total.index_add_(0, row[once], (kernel * self._weight[column])[once])
            total.index_add_(0, column[mirrored], (kernel * self._weight[row])[mirrored])


def _exp_(x: Tensor) -> Tensor:
    """In place; numpy's is three times as fast as torch's in float64."""
    if x.device.type != "cpu":
        return x.exp_()
    np.exp(x.numpy(), out=x.numpy())
    return x
