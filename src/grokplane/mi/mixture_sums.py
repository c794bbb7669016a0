"""Sums over the components of a mixture at drawn points, for all levels of noise from two matrices.

With t = f_i + s z the logarithm of component j's density at t, less that of component i's, is

    -(|f_i - f_j|^2 / 2 s^2 + z . (f_i - f_j) / s):

linear in two numbers of the pair, which no level of noise changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# Numbers of a tile of rows, and exponents that are reckoned with together: what stays in a core's cache; more on a GPU.
TILE = {"cpu": 2**20, "cuda": 2**26}
EXPONENTS = {"cpu": 2**18, "cuda": 2**26}
# Products in float32 are exact to 1e-6 nats in wide layers alone, whose errors average out.
WIDE, COARSE = 512, 0.1
# exp(-80) is 2e-35. Below -87 results would be denormal numbers, which take a core twenty times as long.
FLOOR = -80.0


class Products(NamedTuple):
    """Of every drawn row k with row j of a layer; what belongs to a row itself is 0.

    Attributes:
        pairs: |f_k - f_j|^2 and z_k . (f_k - f_j) in units that `power` is in too [2, D, n] float32.
        rows: which row each drawn one is [D].
        power: mean of |f_j - mean f|^2; 0 where all rows are equal.
    """

    pairs: Tensor
    rows: Tensor
    power: float


class LogSums(NamedTuple):
    """Logarithms of the sums over components, the row's own being 1; the mean of both signs of the noise. float64.

    Attributes:
        total: over all components [levels, D].
        of_class: over those of the row's class [levels, D], one for each labelling.
    """

    total: Tensor
    of_class: list[Tensor]


def products(x: Tensor, rows: Tensor, noise: Tensor, finest: float) -> Products:
    """The two numbers of every pair of a drawn row and a row, from one matrix product.

    Distances come from products of rows about their mean. They lose no digits that count: a component that weighs lies
    within some multiples of r sqrt(P), and rows are sqrt(P) long in the mean, so that 1e-16 / r^2 of a square is lost.

    Args:
        x: rows [n, d].
        rows: the drawn ones [D].
        noise: theirs [D, d] float64.
        finest: smallest resolution that will be asked for.
    """
    exact = x.dtype == torch.float64 or x.shape[1] < WIDE or finest < COARSE
    dtype = torch.float64 if exact else torch.float32
    mean = x.mean(0, dtype=torch.float64)
    own = x[rows].double() - mean
    unit = float(own.square().sum(1).mean()) ** -0.5 if bool(own.any()) else 1.0
    own *= unit
    both, about = torch.cat([-2 * own, -noise]).to(dtype), mean.to(dtype)
    of_row = torch.cat([own.square().sum(1), (own * noise).sum(1)])[:, None].to(dtype)
    pairs = torch.empty(2, len(rows), len(x), dtype=torch.float32, device=x.device)
    power, start = 0.0, 0
    for tile in x.split(max(1, TILE[x.device.type] // x.shape[1])):
        centred = (tile.to(dtype) - about).mul_(unit)
        lengths = centred.square().sum(1, dtype=torch.float64)
        crossed = torch.addmm(of_row, both, centred.T).view(2, len(rows), len(tile))
        crossed[0] += lengths
        pairs[:, :, start : start + len(tile)] = crossed
        power, start = power + float(lengths.sum()), start + len(tile)
    pairs.scatter_(2, rows[:, None].expand(2, -1, 1), 0.0)
    return Products(pairs, rows, power / len(x))


class Classes(NamedTuple):
    """A labelling of n rows into C classes.

    Attributes:
        columns: the rows of each class [C, most] int64, padded.
        real: which of them are not padding, 1 or 0, [C, most] float32.
        number: the class of each row [n].
    """

    columns: Tensor
    real: Tensor
    number: Tensor


def log_sums(of: Products, labellings: Sequence[Classes], ladder: Sequence[float]) -> LogSums:
    """See `LogSums`.

    Exponents and exponentials are float32: a component that weighs has a small exponent, of which float32 keeps 1e-7.

    Args:
        of: what `products` gives, with a power above 0.
        labellings: of the rows.
        ladder: resolutions.
    """
    noise = torch.tensor(ladder, dtype=torch.float64, device=of.pairs.device) * of.power**0.5
    square, slope = -0.5 / noise.square(), 1 / noise
    weights = torch.stack([torch.cat([square, square]), torch.cat([slope, -slope])], 1).float()
    of_class = []
    for columns, real, number in labellings:
        own = number[of.rows]
        of_class.append(_log_sum(of.pairs.gather(2, columns[own].expand(2, -1, -1)), weights, real[own]))
    return LogSums(_log_sum(of.pairs, weights), of_class)


def _log_sum(pairs: Tensor, weights: Tensor, real: Tensor | None = None) -> Tensor:
    """ln sum_j exp(exponent) [levels, k], mean of both signs, for pairs [2, k, m] with weights [2 levels, 2].

    Args:
        pairs, weights: an exponent is the sum of a pair's two numbers, each times a weight.
        real: the weights of the terms [k, m], where some do not count.
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
