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


def log_sums(of: Products, labellings: Sequence[Tensor], ladder: Sequence[float]) -> LogSums:
    """See `LogSums`.

    Exponents and exponentials are float32: a component that weighs has a small exponent, of which float32 keeps 1e-7.

    Args:
        of: what `products` gives, with a power above 0.
        labellings: labels [n] each.
        ladder: resolutions.
    """
    noise = torch.tensor(ladder, dtype=torch.float64, device=of.pairs.device) * of.power**0.5
    square, slope = -0.5 / noise.square(), 1 / noise
    weights = torch.stack([torch.cat([square, square]), torch.cat([slope, -slope])], 1).float()
    groups = [_classes(labels) for labels in labellings]
    total: list[Tensor] = []
    of_class: list[list[Tensor]] = [[] for _ in groups]
    together = max(1, EXPONENTS[of.pairs.device.type] // (len(weights) * of.pairs.shape[2]))
    for some, rows in zip(of.pairs.split(together, 1), of.rows.split(together), strict=True):
        total.append(_log_sum(some, weights))
        for (columns, real, number), found in zip(groups, of_class, strict=True):
            which = number[rows]
            found.append(_log_sum(some.gather(2, columns[which].expand(2, -1, -1)), weights, real[which]))
    return LogSums(torch.cat(total, 1), [torch.cat(found, 1) for found in of_class])


def _log_sum(pairs: Tensor, weights: Tensor, real: Tensor | None = None) -> Tensor:
    """ln sum_j exp(exponent) [levels, k], mean of both signs, for pairs [2, k, m] with weights [2 levels, 2]."""
    kernel = (weights @ pairs.flatten(1)).clamp_min_(FLOOR).exp_().view(len(weights), *pairs.shape[1:])
    if real is not None:
        kernel *= real
    return kernel.sum(2).double().log_().unflatten(0, (2, -1)).mean(0)


def _classes(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of each class [C, most] padded, which of them are real (1 or 0), and the class of each row [n]."""
    _, number, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    order = torch.argsort(number, stable=True)
    place = torch.arange(len(labels), device=labels.device) - (counts.cumsum(0) - counts)[number[order]]
    columns = torch.zeros(len(counts), int(counts.max()), dtype=torch.int64, device=labels.device)
    columns[number[order], place] = order
    real = torch.arange(columns.shape[1], device=labels.device) < counts[:, None]
    return columns, real.float(), number
