"""Bounds on the mutual information of a layer plus Gaussian noise, from distances between the noiseless rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from grokplane.mi.base import Array, Estimate, labels, mean_of, over_batch, samples
from grokplane.mi.ceiling import bounded
from grokplane.options import check_options, option

BOUNDS = ("lower", "upper")
BLOCK = 1024  # rows in a block of pairs, 8 MiB in float64


@dataclass(frozen=True)
class KDE:
    """Bounds for T = f(X) + N(0, noise_variance I), from the noiseless rows f(x_i), each equally likely.

    T is then a mixture of N Gaussians with known centres. With s = 8 noise_variance (the Bhattacharyya distance)

        H(T) - H(T|X) >= - 1/N sum_i log( 1/N sum_j exp(-|f_i - f_j|^2 / s) ),

    and the right-hand side with s = 2 noise_variance (the Kullback-Leibler divergence) is an upper bound: Kolchinsky
    and Tracey 2017, "Estimating mixture entropy with pairwise distances" (Entropy 19, 361). The same formula within a
    class bounds H(T|Y) - H(T|X). I(T;Y) is the difference of the two. It is bounded by the difference of opposite
    bounds, so both results are true bounds (with the same s in both terms, as in the paper, the result is not a bound).

    The bounds hold if X takes exactly the N given values. Neither exceeds ln N, the maximum of I(X;T) for N equally
    likely inputs; both are 0 if all rows are equal. If the rows are a sample of more than N inputs, the bounds apply to
    the information about *which of these N*, which falls short of I(X;T) as the latter approaches ln N. For labels the
    lower bound can be negative and the upper bound can exceed H(Y). The bounds coincide if clusters of equal rows are
    far apart relative to the noise. They are loose, by up to a factor of 4 for small distances, if the noise blurs
    neighbouring rows.

    Standard error: for a sample of N inputs, from the influence function of the pair sums with all terms combined. If
    the N rows are the whole population, the bound has no sampling error.
    """

    noise_variance: float = option(help="variance of the noise in every coordinate", above=0)
    bound: str = option("lower", "lower or upper bound", choices=BOUNDS)

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, x: Array, y: Array | None = None) -> Estimate:
        """Bound in nats for noiseless rows x [..., N, d] and labels y [..., N]; without y, of I(X;T) of N inputs."""
        x = samples(x)
        if y is None:
            return over_batch(lambda x: mean_of(*self._terms(x, self.bound)), x)
        return over_batch(bounded(self._against, "KDE"), x, labels(y), events=(2, 1))

    def _against(self, x: Tensor, y: Tensor) -> Estimate:
        terms, spread = self._terms(x, self.bound)
        opposite = "upper" if self.bound == "lower" else "lower"
        order = torch.argsort(y, stable=True)
        for rows in order.split(torch.unique(y, return_counts=True)[1].tolist()):
            of_class, spread_of_class = self._terms(x[rows], opposite)
            terms[rows] -= of_class
            spread[rows] -= spread_of_class
        return mean_of(terms, spread)

    def _terms(self, x: Tensor, bound: str) -> tuple[Tensor, Tensor]:
        """Per-row terms [N], and the influence of each row on their mean [N] (up to a constant)."""
        scale = _scale(self.noise_variance, bound)
        density = pair_sums(x, x.new_ones(len(x)), scale)
        terms = -(density / len(x)).log()
        return terms, terms - pair_sums(x, 1 / density, scale)


def _scale(variance: float, bound: str) -> float:
    return 1 / (variance * (8 if bound == "lower" else 2))


def pair_sums(x: Tensor, weight: Tensor, scale: float) -> Tensor:
    """sum_j exp(-scale |x_i - x_j|^2) weight_j [N], from differences of coordinates, for x [N, d].

    The term of j = i is 1, so no sum underflows. Each block of pairs above the diagonal is used for both of its rows.
    """
    total = torch.zeros_like(weight)
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        for other in range(start, len(x), BLOCK):
            columns = slice(other, other + BLOCK)
            kernel = _kernel(x[rows], x[columns], scale)
            total[rows] += kernel @ weight[columns]
            if other != start:
                total[columns] += kernel.T @ weight[rows]
    return total


def _kernel(a: Tensor, b: Tensor, scale: float) -> Tensor:
    distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.square_().mul_(-scale).exp_()


class Bracket(NamedTuple):
    """A lower and an upper bound in nats, float64 with the leading axes of the input."""

    lower: Tensor
    upper: Tensor


def bracket(centres: Array, noise_variance: Tensor | float) -> Bracket:
    """Both bounds of I(X;T), T = f(X) + N(0, noise_variance I), for N equally likely inputs X.

    The bounds are the values of `KDE(noise_variance, bound)(centres)`, clamped to [0, ln N] against round-off. There
    is no standard error, because the N rows are the whole population. The bracket serves to check exact values. Time is
    proportional to N^2 d; memory is that of one block of pairs.

    Args:
        centres: noiseless rows f(x_i) [..., N, d].
        noise_variance: variance in every coordinate, above 0: a number, or one per element of the leading axes.

    Returns:
        0 <= lower <= upper <= ln N, [...].

    Raises:
        ValueError: if the variance is not positive and finite, leading axes do not broadcast, or `samples` refuses the
            rows.
    """
    x = samples(centres, "centres")
    variance = torch.as_tensor(noise_variance, dtype=torch.float64, device=x.device)
    if not bool((torch.isfinite(variance) & (variance > 0)).all()):
        raise ValueError(f"noise_variance={noise_variance}: must be above 0 and finite")
    lead = torch.broadcast_shapes(x.shape[:-2], variance.shape)
    rows, levels = x.expand(*lead, *x.shape[-2:]).reshape(-1, *x.shape[-2:]), variance.expand(lead).reshape(-1)
    found = [[_bound(one, float(level), bound) for bound in BOUNDS] for one, level in zip(rows, levels, strict=True)]
    lower, upper = x.new_tensor(found).view(*lead, 2).clamp(0, math.log(x.shape[-2])).unbind(-1)
    return Bracket(lower, torch.maximum(lower, upper))


def _bound(rows: Tensor, variance: float, bound: str) -> float:
    density = pair_sums(rows, rows.new_ones(len(rows)), _scale(variance, bound))
    return -float((density / len(rows)).log().mean())
