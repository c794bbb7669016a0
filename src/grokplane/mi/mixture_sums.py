"""Sums over the components of a mixture at sampled points; two matrices serve all noise levels.

At t = f_i + s z, the log density of component j minus the log density of component i is

    -(|f_i - f_j|^2 / 2 s^2 + z . (f_i - f_j) / s).

It is linear in two numbers per pair, which do not depend on the noise level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# Block sizes: numbers in a tile of rows, pairs of a sampled row and a row held in memory, and exponents computed at
# once. On a CPU a block fits the cache of a core and 64 MiB of memory; on a GPU blocks are larger.
TILE = {"cpu": 2**20, "cuda": 2**26}
PAIRS = {"cpu": 2**23, "cuda": 2**27}
EXPONENTS = {"cpu": 2**18, "cuda": 2**26}
# exp(-80) is 2e-35. Below -87 results are denormal numbers, which are twenty times slower on a CPU.
FLOOR = -80.0


class Products(NamedTuple):
    """Two numbers for every pair of a sampled row k and a row j of a layer; both are 0 for the row itself.

    Attributes:
        pairs: |f_k - f_j|^2 and z_k . (f_k - f_j) [2, D, n] float32, in the same units as `power`.
        power: mean of |f_j - mean f|^2; 0 if all rows are equal.
        unit: factor from the units of the rows to those of the numbers.
    """

    pairs: Tensor
    power: float
    unit: float


class Classes(NamedTuple):
    """A labelling of n rows into C classes.

    Attributes:
        columns: row numbers of each class [C, largest class size] int64, padded.
        real: 1 for the entries of `columns` and 0 for padding, float32.
        number: class of each row [n].
    """

    columns: Tensor
    real: Tensor
    number: Tensor


class LogSums(NamedTuple):
    """Logarithms of sums over components relative to the row's own component, averaged over both signs of the noise.

    Attributes:
        total: sums over all components [levels, D] float64.
        of_class: sums over the components of the row's class [levels, D] float64, one tensor per labelling.
    """

    total: Tensor
    of_class: list[Tensor]


def log_sums(
    x: Tensor,
    rows: Tensor,
    noise: Tensor,
    labellings: Sequence[Classes],
    ladder: Sequence[float],
    power: float | None = None,
) -> LogSums | None:
    """Compute `LogSums`; return None if all rows are equal.

    Products are computed in float64, exponents and exponentials in float32. A component that contributes has a small
    exponent, for which the relative error 1e-7 of float32 suffices.

    Args:
        x: rows [n, d].
        rows: numbers of the sampled rows [D].
        noise: noise of the sampled rows [D, d] float64.
        labellings: labellings of the rows.
        ladder: resolutions.
        power: mean squared distance that resolutions refer to, in the units of x; None: that of the rows.
    """
    together = max(1, PAIRS[x.device.type] // len(x))
    parts: list[list[Tensor]] = []
    for some, theirs in zip(rows.split(together), noise.split(together), strict=True):
        of = products(x, some, theirs)
        if of.power == 0:
            return None
        weights = _weights(ladder, of, of.power if power is None else power * of.unit**2)
        parts.append([_log_sum(of.pairs, weights)])
        for columns, real, number in labellings:
            own = number[some]
            parts[-1].append(_log_sum(of.pairs.gather(2, columns[own].expand(2, -1, -1)), weights, real[own]))
    total, *of_class = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    return LogSums(total, of_class)


def products(x: Tensor, rows: Tensor, noise: Tensor) -> Products:
    """Compute both numbers of every pair of a sampled row and a row from one matrix product.

    Distances come from products of centred rows. The loss of precision is harmless: a component that contributes is
    within a few multiples of r sqrt(P), and rows have a root mean square length of sqrt(P), so the relative error of a
    squared distance is 1e-16 / r^2.
    """
    mean = x.mean(0, dtype=torch.float64)
    own = x[rows].double() - mean
    unit = _unit(own)
    own *= unit
    # |f_k - f_j|^2 = |f_k|^2 + |f_j|^2 - 2 f_k . f_j as one product of longer rows, and z_k . (f_k - f_j) below it.
    lengths, along = own.square().sum(1, keepdim=True), (own * noise).sum(1, keepdim=True)
    squares = torch.cat([-2 * own, lengths, torch.ones_like(lengths)], 1)
    left = torch.cat([squares, torch.cat([-noise, along, torch.zeros_like(along)], 1)])
    pairs = torch.empty(2, len(rows), len(x), dtype=torch.float32, device=x.device)
    power, start = 0.0, 0
    for tile in x.split(max(1, TILE[x.device.type] // x.shape[1])):
        centred = (tile.double() - mean).mul_(unit)
        lengths = centred.square().sum(1, keepdim=True)
        right = torch.cat([centred, torch.ones_like(lengths), lengths], 1)
        pairs[:, :, start : start + len(tile)] = (left @ right.T).view(2, len(rows), len(tile))
        power, start = power + float(lengths.sum()), start + len(tile)
    pairs.scatter_(2, rows[:, None].expand(2, -1, 1), 0.0)
    return Products(pairs, power / len(x), unit)


def _unit(own: Tensor) -> float:
    """Factor that scales rows to a length of about 1, so that float32 can represent their squares."""
    largest = float(own.abs().amax())
    return float((own / largest).square().sum(1).mean()) ** -0.5 / largest if largest > 0 else 1.0


def _weights(ladder: Sequence[float], of: Products, power: float) -> Tensor:
    """Factors of a pair's two numbers in an exponent [2 levels, 2]: first for the noise, then for the negated noise."""
    noise = torch.tensor(ladder, dtype=torch.float64, device=of.pairs.device) * power**0.5
    square, slope = -0.5 / noise.square(), 1 / noise
    return torch.stack([torch.cat([square, square]), torch.cat([slope, -slope])], 1).float()


def _log_sum(pairs: Tensor, weights: Tensor, real: Tensor | None = None) -> Tensor:
    """ln sum_j exp(exponent) [levels, k], averaged over both signs of the noise.

    Args:
        pairs: two numbers per pair [2, k, m].
        weights: factors [2 levels, 2]; an exponent is the sum of a pair's two numbers, each times its factor.
        real: mask of the terms [k, m], 1 or 0; None counts all terms.
    """
    together = max(1, EXPONENTS[pairs.device.type] // (len(weights) * pairs.shape[2]))
    sums = []
    for start in range(0, pairs.shape[1], together):
        some = pairs[:, start : start + together]
        kernel = (weights @ some.flatten(1)).clamp_min_(FLOOR).exp_().view(len(weights), *some.shape[1:])
        if real is not None:
            kernel *= real[start : start + together]
        sums.append(kernel.sum(2))
    return torch.cat(sums, 1).double().log_().unflatten(0, (2, -1)).mean(0)


def classes(labels: Tensor) -> Classes:
    """The classes of labels [n]."""
    _, number, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    order = torch.argsort(number, stable=True)
    place = torch.arange(len(labels), device=labels.device) - (counts.cumsum(0) - counts)[number[order]]
    columns = torch.zeros(len(counts), int(counts.max()), dtype=torch.int64, device=labels.device)
    columns[number[order], place] = order
    real = torch.arange(columns.shape[1], device=labels.device) < counts[:, None]
    return Classes(columns, real.float(), number)
