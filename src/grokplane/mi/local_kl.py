"""Mutual information from nearest-neighbour entropies in a metric that is adapted to the neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from grokplane.mi.base import Estimate, mean_of
from grokplane.mi.degenerate import whiten
from grokplane.mi.entropy import entropy_of, kl_terms, remembered
from grokplane.mi.neighbours import nearest
from grokplane.mi.scale import at_one_scale
from grokplane.mi.shuffled import AgainstShuffles
from grokplane.options import option

ROWS = 300  # number of rows whose neighbours determine the metric
NEAR = 3  # number of neighbours per row
ROUNDS = 4  # largest number of iterations from each start


@dataclass(frozen=True)
class LocalKL(AgainstShuffles):
    """h(X, shuffled Y) - h(X, Y), both Kozachenko-Leonenko entropies, each in a metric adapted to its sample.

    As in `JointKL`, shuffling preserves h(X) + h(Y) and removes the bias at independence. The entropy of a vector is
    the entropy of any linear map of it plus a log determinant. JointKL whitens by the covariance. If clusters are far
    apart, the covariance reflects the positions of the clusters, and whitening leaves each cluster as a thin sheet:
    the errors are several nats in either direction. Here the linear map makes the *directions to the nearest
    neighbours* isotropic (Tyler's shape matrix of x_i - x_j, from 300 evenly spaced rows with 3 neighbours each, in up
    to 4 iterations). It starts from the whitened sample and from the raw sample, in which each side is divided by the
    median distance of its values from their medians. The map with the smallest entropy on those rows is used, because
    a metric that fails to resolve structure only adds entropy.

    The estimate is unbiased at independence and accurate for high information in few columns, within clusters or
    between them. It is too low for strongly nonlinear dependence in many columns (by a third at 4+4 columns). It is too
    high, by 0.4 nats, for corresponding clusters that have so few rows (100 in 4+4 columns) that shuffled pairs have
    about ten rows in each. It is invariant to the scale of a side. Other linear maps have a small effect, through the
    raw start.

    Constant columns, columns that are linear combinations of others, and duplicate rows are left out; a constant side
    gives 0.

    Standard error: standard deviation of the three terms combined per sample, over the square root of N, for the pairs
    and for the shuffled pairs (over the square root of the number of shuffles), in quadrature.
    """

    k: int = option(1, "k-th nearest neighbour", at_least=1)
    shuffles: int = option(1, "number of shuffles that the first entropy is averaged over", at_least=1)
    seed: int = option(0, "seed of the shuffles", at_least=0)

    def _compared(self, x: Tensor, y: Tensor) -> Estimate:
        x, y = at_one_scale(x), at_one_scale(y)
        rule = partial(local_terms, k=self.k)
        of_x, of_y = (remembered(side, rule, False, ("local", self.k)).terms for side in (x, y))
        both = entropy_of(torch.cat([x, y], 1), rule, False)
        shuffled = [(order, entropy_of(torch.cat([x, y[order]], 1), rule, False)) for order in self._orders(x)]
        apart = torch.stack([entropy.value for _, entropy in shuffled])
        own = mean_of(of_x + of_y - both.terms).std_error
        others = torch.stack([mean_of(of_x + of_y[order] - entropy.terms).std_error for order, entropy in shuffled])
        return Estimate(apart.mean() - both.value, torch.hypot(own, others.norm() / len(shuffled)))


def local_terms(x: Tensor, k: int) -> Tensor:
    """Kozachenko-Leonenko terms [N] in the local metric, for x [N, d] of full rank without duplicate rows."""
    shaped, log_det = local_metric(x)
    return kl_terms(shaped, min(k, len(x) - 1)) + log_det


def local_metric(x: Tensor) -> tuple[Tensor, Tensor]:
    """Samples [N, d] under the linear map that `LocalKL` describes, and the log determinant to add to their entropy."""
    raw = x, x.new_zeros(())
    found = [_shaped(*start) for start in (whiten(x), raw)]
    return min(found, key=lambda candidate: candidate[0])[1:]


def _shaped(x: Tensor, log_det: Tensor) -> tuple[float, Tensor, Tensor]:
    """Iterate the map; return the smallest entropy (on some rows), with its samples and log determinant."""
    rows = torch.linspace(0, len(x) - 1, min(ROWS, len(x)), dtype=torch.float64, device=x.device).round().long()
    best = math.inf, x, log_det
    for number in range(ROUNDS + 1):
        reach, index = nearest(x, min(NEAR, len(x) - 1), rows=rows)
        entropy = float(x.shape[1] * reach[:, 0].log().mean() + log_det)
        if math.isfinite(entropy) and entropy < best[0]:
            best = entropy, x, log_det
        elif number > 1:
            break
        x, log_det = _rounder(x, log_det, (x[index] - x[rows][:, None]).flatten(0, 1))
    return best


def _rounder(x: Tensor, log_det: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Samples under the map that makes the directions of `steps` [M, d] isotropic, and the new log determinant."""
    size = steps.norm(dim=1, keepdim=True)
    directions = steps[size[:, 0] > 0] / size[size > 0][:, None]
    values, axes = torch.linalg.eigh(directions.T @ directions)
    values = (values / values.mean()).clamp_min(1e-12)
    return x @ (axes / values.sqrt()), log_det + values.log().sum() / 2


GROUP = "mi/input_estimator"
CHOICES = {"local_kl": LocalKL}
