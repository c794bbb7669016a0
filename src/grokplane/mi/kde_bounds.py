"""Bounds on the information of a layer plus Gaussian noise, from distances between the noiseless rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.mi.base import Estimate, labels, mean_of, over_batch, samples
from grokplane.options import check_options, option

BLOCK = 1024  # rows of a block of pairs: 8 MiB in float64


@dataclass(frozen=True)
class KDE:
    """Bounds for T = f(X) + N(0, noise_variance I), from the noiseless rows f(x_i), each equally likely.

    T is then a mixture of N Gaussians with known centres. With s = 8 noise_variance (the Bhattacharyya distance)

        H(T) - H(T|X) >= - 1/N sum_i log( 1/N sum_j exp(-|f_i - f_j|^2 / s) ),

    and the right-hand side with s = 2 noise_variance (the Kullback-Leibler divergence) is an upper bound: Kolchinsky
    and Tracey 2017, "Estimating mixture entropy with pairwise distances" (Entropy 19, 361). The same
    formula within a class bounds H(T|Y) - H(T|X). I(T;Y) is the difference of the two, bounded by taking opposite
    bounds, so both are true bounds (theirs with the same s in both terms is not one).

    The bounds hold when X takes the N values given. Neither is above ln N, which I(X;T) of N equally likely inputs
    cannot exceed; both are 0 when all rows are equal. When the rows are a sample from more inputs than N they bound
    the information about *which of these N*, which falls short of I(X;T) as that nears ln N. Against labels the lower
    one may be below 0 and the upper one above H(Y). They meet where clusters of equal rows lie far apart beside the
    noise, and are loose, up to a factor 4 for small distances, where neighbours blur into each other.

    Standard error: of a sample of N inputs, from the influence function of the pair sums, all terms combined. Where the
    N rows are all there are, the bound has no sampling error.
    """

    noise_variance: float = option(help="variance of the noise in every coordinate", above=0)
    bound: str = option("lower", "which bound", choices=("lower", "upper"))

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, x: Tensor, y: Tensor | None = None) -> Estimate:
        """Nats, for noiseless rows x [..., N, d] and labels y [..., N]; without y, I(X;T) of N distinct inputs."""
        x = samples(x)
        if y is None:
            return over_batch(lambda x: mean_of(*self._terms(x, self.bound)), x)
        return over_batch(self._against, x, labels(y), events=(2, 1))

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
        """The summand of each row [N], and its influence on the mean [N] (up to a constant)."""
        scaled = x / (self.noise_variance * (8 if bound == "lower" else 2)) ** 0.5
        density = pair_sums(scaled, x.new_ones(len(x)))
        terms = -(density / len(x)).log()
        return terms, terms - pair_sums(scaled, 1 / density)


def pair_sums(x: Tensor, weight: Tensor) -> Tensor:
    """sum_j exp(-|x_i - x_j|^2) weight_j [N], by differences of coordinates, for x [N, d].

    The term of j = i is 1, so no sum underflows. Blocks of pairs above the diagonal serve both their rows.
    """
    total = torch.zeros_like(weight)
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        for other in range(start, len(x), BLOCK):
            columns = slice(other, other + BLOCK)
            kernel = _kernel(x[rows], x[columns])
            total[rows] += kernel @ weight[columns]
            if other != start:
                total[columns] += kernel.T @ weight[rows]
    return total


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.square_().neg_().exp_()
