"""Mutual information between a continuous variable and labels, from neighbour counts (Ross 2014)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.mi.base import Array, Estimate, check_count, labels, mean_of, over_batch, samples
from grokplane.mi.ceiling import bounded
from grokplane.mi.neighbours import TOLERANCE, counts, distances
from grokplane.options import check_options, option


@dataclass(frozen=True)
class Ross:
    """I(X;Y) = psi(N) + < psi(k_i) - psi(N_y(i)) - psi(m_i) > for continuous X and integer labels Y.

    r_i is the Euclidean distance from x_i to its k-th neighbour with the same label, m_i the number of other points of
    any label within r_i, N_y the number of points with label y. Ross 2014, "Mutual information between discrete and
    continuous data sets", PLoS ONE 9(2).

    Ties: k_i is the number of points with the same label within r_i, which is k if all distances differ. Duplicate
    rows, constant columns and X = one-hot(Y) are therefore no special cases. X = one-hot(Y) gives
    psi(N) - < psi(N_y) >, which is H(Y) up to O(classes / N); no estimate exceeds this value, because k_i <= m_i.
    Constant X gives about -(classes - 1) / N. A class of k or fewer points uses all of them as neighbours. A class of
    one point has no information about its density and is left out; N counts the other points.

    The estimate is accurate in few dimensions (up to about 5 at N = 1,000). It is biased low in many dimensions, and
    if a class is spread over regions thinner than the distance between samples. It is invariant to rotations and to a
    common scale of X, but not to other maps.

    Standard error: standard deviation of the terms over the square root of N. The terms of neighbouring points are
    dependent, which the standard error neglects; the true deviation was 1.25 times as large on normal classes (N = 300,
    200 samples).
    """

    k: int = option(3, "number of neighbours within the class", at_least=1)

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, x: Array, y: Array) -> Estimate:
        """Mutual information in nats of x [..., N, d] and labels y [..., N].

        Raises:
            ValueError: if no class has two samples, or `samples` or `labels` refuse the input.
        """
        x, y = samples(x), labels(y)
        one = bounded(lambda x, y: mean_of(ross_terms(*shared(x, y), self.k)), "Ross")
        return over_batch(one, x, y, events=(2, 1))


def shared(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of x [N, d] and y [N] whose label occurs at least twice, with the labels renumbered 0, 1, 2, ...

    Raises:
        ValueError: if there are no such rows.
    """
    _, which, size = torch.unique(y, return_inverse=True, return_counts=True)
    keep = size[which] > 1
    check_count(int(keep.sum()), 2, "the classes of more than one sample")
    return x[keep], torch.unique(y[keep], return_inverse=True)[1]


def ross_terms(x: Tensor, y: Tensor, k: int) -> Tensor:
    """Per-sample terms [N] for x [N, d] and labels y [N] that each occur at least twice (`shared`)."""
    radius, near, size = x.new_empty(len(x)), x.new_empty(len(x)), x.new_empty(len(x))
    for label in range(int(y.max()) + 1):
        rows = torch.nonzero(y == label).squeeze(1)
        radius[rows], near[rows] = _class_radius(x[rows], k)
        size[rows] = len(rows)
    around = counts(x, radius, "euclidean", strict=False).double()
    total = x.new_tensor(float(len(x)))
    return torch.digamma(total) + torch.digamma(near) - torch.digamma(size) - torch.digamma(around)


def _class_radius(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Distance to the k-th neighbour and the number of points within it, both [n]; k is limited to n - 1."""
    k = min(k, len(x) - 1)
    found = distances(x, min(k + 1, len(x) - 1), "euclidean")
    radius = found[:, k - 1]
    if found.shape[1] > k and bool((found[:, k] <= radius * (1 + TOLERANCE)).any()):
        return radius, counts(x, radius, "euclidean", strict=False).double()
    return radius, torch.full_like(radius, k)


GROUP = "mi/label_estimator"
CHOICES = {"ross": Ross}
