"""Information between a continuous variable and labels, by neighbours within the class and in all (Ross 2014)."""

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

    r_i is the distance (Euclidean) from x_i to its k-th neighbour of the same label, m_i the number of all other points
    up to r_i, N_y the number of points of label y. Ross 2014, "Mutual information between discrete and continuous
    data sets", PLoS ONE 9(2).

    Ties: k_i is the number of points of the same label up to r_i, which is k where distances differ. So duplicate
    rows, constant columns and X = one-hot(Y) are no special case; the last gives psi(N) - < psi(N_y) >, which is H(Y)
    to O(classes / N), and constant X gives about -(classes - 1) / N. As k_i <= m_i, no estimate is above that. A
    class of k or fewer points uses all it has; a class of one point tells nothing about its density and is left out,
    N counts the others.

    Holds for few dimensions (up to about 5 at N = 1,000); biased low where a class is spread over regions thinner
    than the distance between samples, and in many dimensions. Unchanged by rotation and common scale of X, not by
    other maps.

    Standard error: deviation of the terms over the root of N. Terms of near points are dependent, which it leaves
    out; the true deviation was 1.25 times as large on normal classes (N = 300, 200 samples).
    """

    k: int = option(3, "neighbours within the class", at_least=1)

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, x: Array, y: Array) -> Estimate:
        """Nats, for x [..., N, d] and labels y [..., N].

        Raises:
            ValueError: if no class has two samples, or for input that `samples` or `labels` refuse.
        """
        x, y = samples(x), labels(y)
        one = bounded(lambda x, y: mean_of(ross_terms(*shared(x, y), self.k)), "Ross")
        return over_batch(one, x, y, events=(2, 1))


def shared(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of x [N, d] and labels [N] whose label occurs at least twice, labels made 0, 1, 2, ...

    Raises:
        ValueError: if there are none.
    """
    _, which, size = torch.unique(y, return_inverse=True, return_counts=True)
    keep = size[which] > 1
    check_count(int(keep.sum()), 2, "the classes of more than one sample")
    return x[keep], torch.unique(y[keep], return_inverse=True)[1]


def ross_terms(x: Tensor, y: Tensor, k: int) -> Tensor:
    """The summand of each sample [N], for x [N, d] and labels [N] that all occur twice at least (`shared`)."""
    radius, near, size = x.new_empty(len(x)), x.new_empty(len(x)), x.new_empty(len(x))
    for label in range(int(y.max()) + 1):
        rows = torch.nonzero(y == label).squeeze(1)
        radius[rows], near[rows] = _class_radius(x[rows], k)
        size[rows] = len(rows)
    around = counts(x, radius, "euclidean", strict=False).double()
    total = x.new_tensor(float(len(x)))
    return torch.digamma(total) + torch.digamma(near) - torch.digamma(size) - torch.digamma(around)


def _class_radius(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Distance to the k-th neighbour and how many lie up to it, both [n]; all there are where they are fewer than k."""
    k = min(k, len(x) - 1)
    found = distances(x, min(k + 1, len(x) - 1), "euclidean")
    radius = found[:, k - 1]
    if found.shape[1] > k and bool((found[:, k] <= radius * (1 + TOLERANCE)).any()):
        return radius, counts(x, radius, "euclidean", strict=False).double()
    return radius, torch.full_like(radius, k)


GROUP = "mi/label_estimator"
CHOICES = {"ross": Ross}
