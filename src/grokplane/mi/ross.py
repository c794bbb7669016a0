"""Information between a continuous variable and labels, by neighbours within the class and in all (Ross 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.mi.base import Estimate, check_count, labels, mean_of, over_batch, samples
from grokplane.mi.neighbours import TOLERANCE, counts, distances
from grokplane.mi.ross_pairs import Classes, classes, pair_terms
from grokplane.mi.ross_rows import row_terms
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

    def __call__(self, x: Tensor, y: Tensor) -> Estimate:
        """Nats, for x [..., N, d] and labels y [..., N].

        Raises:
            ValueError: if no class has two samples, or for input that `samples` or `labels` refuse.
        """
        x, y = samples(x), labels(y)
        return over_batch(lambda x, y: mean_of(ross_terms(*shared(x, y), self.k)), x, y, events=(2, 1))


def ross_all(x: Tensor, labels: Sequence[Tensor | Classes], k: int = 3, rows: int | None = None) -> list[Estimate]:
    """`Ross(k)(x, y)` for several labels of the same rows, which share the distances between all pairs.

    On a CPU, for few rows or many dimensions, from matrix products; otherwise one by one. Distances count as equal, and
    so are both within the radius, if they agree to a relative 1e-12, or, where round-off beside the size of the values
    is more, up to 2e-9 (`ross_pairs`); below that, exact duplicates among them, differences of coordinates decide.

    Args:
        x: [N, d].
        labels: integer labels [N] each, or what `classes` made of them.
        k: neighbours within the class.
        rows: average over so many evenly spaced samples, each with all its neighbours, instead of all (`ross_rows`).

    Returns:
        One estimate for each of the labels.

    Raises:
        ValueError: for input that `Ross` refuses, more than one sample of rows, or if all rows asked for are alone.
    """
    one, x = Ross(k), samples(x)
    sets = [y if isinstance(y, Classes) else classes(y) for y in labels]
    if x.dim() != 2 or any(len(of.which) != len(x) for of in sets):
        raise ValueError(f"x is {list(x.shape)}, labels are {[len(of.which) for of in sets]}: must be pairs")
    if rows is not None:
        return [_mean(terms) for terms in row_terms(x, sets, k, rows)]
    if _by_pairs(x):
        return [mean_of(terms) for terms in pair_terms(x, sets, k)]
    return [one(x, of.which.to(x.device)) for of in sets]


def _mean(terms: Tensor) -> Estimate:
    check_count(len(terms), 2, "the rows asked whose label occurs twice")
    return mean_of(terms)


def _by_pairs(x: Tensor) -> bool:
    """Whether all pairs of x [N, d] take less time than search trees do: up to 1,500 rows times 1.4 a dimension.

    Measured at N = 300 to 10,000, d = 1 to 32, 10 and 53 classes, one core of an AMD EPYC.
    """
    return x.device.type == "cpu" and len(x) <= 1500 * 1.4 ** min(x.shape[1], 64)


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
    return pair_terms(x, [classes(y)], k)[0] if _by_pairs(x) else tree_terms(x, y, k)


def tree_terms(x: Tensor, y: Tensor, k: int) -> Tensor:
    """The same by search trees on a CPU, by brute force elsewhere."""
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


GROUP = "mi/labels"
CHOICES = {"ross": Ross}
