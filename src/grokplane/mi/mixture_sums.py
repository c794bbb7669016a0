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

# Numbers of a tile of rows, pairs of drawn rows and rows that are kept, and exponents that are reckoned with together:
# what stays in a core's cache and within 64 MiB; more on a GPU.
TILE = {"cpu": 2**20, "cuda": 2**26}
PAIRS = {"cpu": 2**23, "cuda": 2**27}
EXPONENTS = {"cpu": 2**18, "cuda": 2**26}
# exp(-80) is 2e-35. Below -87 results would be denormal numbers, which take a core twenty times as long.
FLOOR = -80.0


class Products(NamedTuple):
    """Of every drawn row k with row j of a layer; what belongs to a row itself is 0.

    Attributes:
        pairs: |f_k - f_j|^2 and z_k . (f_k - f_j) in units that `power` is in too [2, D, n] float32.
        power: mean of |f_j - mean f|^2; 0 where all rows are equal.
    """

    pairs: Tensor
    power: float


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


class LogSums(NamedTuple):
    """Logarithms of the sums over components, the row's own being 1; the mean of both signs of the noise. float64.

    Attributes:
        total: over all components [levels, D].
        of_class: over those of the row's class [levels, D], one for each labelling.
    """

    total: Tensor
    of_class: list[Tensor]


def log_sums(
    x: Tensor, rows: Tensor, noise: Tensor, labellings: Sequence[Classes], ladder: Sequence[float]
) -> LogSums | None:
    """See `LogSums`; None where all rows are equal.

    Products are float64. Exponents and exponentials are float32: a component that weighs has a small exponent, of which
    float32 keeps 1e-7.

    Args:
        x: rows [n, d].
        rows: the drawn ones [D].
        noise: theirs [D, d] float64.
        labellings: of the rows.
        ladder: resolutions.
    """
    together = max(1, PAIRS[x.device.type] // len(x))
    parts: list[list[Tensor]] = []
    for some, theirs in zip(rows.split(together), noise.split(together), strict=True):
        of = products(x, some, theirs)
        if of.power == 0:
            return None
        weights = _weights(ladder, of)
        parts.append([_log_sum(of.pairs, weights)])
        for columns, real, number in labellings:
            own = number[some]
            parts[-1].append(_log_sum(of.pairs.gather(2, columns[own].expand(2, -1, -1)), weights, real[own]))
    total, *of_class = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    return LogSums(total, of_class)


def products(x: Tensor, rows: Tensor, noise: Tensor) -> Products:
    """The two numbers of every pair of a drawn row and a row, from one matrix product.

    Distances come from products of rows about their mean. They lose no digits that count: a component that weighs lies
    within some multiples of r sqrt(P), and rows are sqrt(P) long in the mean, so that 1e-16 / r^2 of a square is lost.
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
    return Products(pairs, power / len(x))


def _unit(own: Tensor) -> float:
    """What makes rows about one long, so that float32 holds their squares."""
    largest = float(own.abs().amax())
    return float((own / largest).square().sum(1).mean()) ** -0.5 / largest if largest > 0 else 1.0


def _weights(ladder: Sequence[float], of: Products) -> Tensor:
    """What a pair's two numbers are multiplied with in an exponent [2 levels, 2]: for the noise, then negated."""
    noise = torch.tensor(ladder, dtype=torch.float64, device=of.pairs.device) * of.power**0.5
    square, slope = -0.5 / noise.square(), 1 / noise
    return torch.stack([torch.cat([square, square]), torch.cat([slope, -slope])], 1).float()


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
