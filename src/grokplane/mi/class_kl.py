"""Information between a continuous variable and labels, as a difference of entropies."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.mi.base import Estimate, check_count, labels, mean_of, over_batch, samples
from grokplane.mi.degenerate import distinct, distinct_pairs, independent
from grokplane.mi.neighbours import distances
from grokplane.mi.ross import shared
from grokplane.options import check_options, option


@dataclass(frozen=True)
class ClassKL:
    """I(X;Y) = h(X) - sum_y p(y) h(X|y), each entropy after Kozachenko and Leonenko 1987.

    h = psi(n) - psi(k) + log V_d + (d / n) sum log r_i with Euclidean distance r_i to the k-th neighbour. The volume
    V_d cancels.

    The radii within a class are larger than those in all, so the two biases do not cancel: it overshoots H(Y) where
    classes are small or thin, by far (3.1 nats measured where H(Y) is 2.3). `Ross` is the better choice; this one is
    for comparison with published curves.

    Degenerate input: constant and linearly dependent columns are left out; a row that repeats one of its class is left
    out, and each entropy is taken over distinct rows; a class of k or fewer rows uses all it has; a class of one
    is left out. X that is constant gives exactly 0. X that takes one value a class, such as one-hot(Y), has no density
    within a class and is an error.

    Standard error: deviation of the combined terms over the root of N, so that the covariance of the entropies is
    accounted for.
    """

    k: int = option(3, "neighbours", at_least=1)

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, x: Tensor, y: Tensor) -> Estimate:
        """Nats, for x [..., N, d] and labels y [..., N].

        Raises:
            ValueError: for k or fewer distinct rows, or if no class has two.
        """
        x, y = samples(x, least=self.k + 1), labels(y)
        return over_batch(lambda x, y: mean_of(self._terms(x, y)), x, y, events=(2, 1))

    def _terms(self, x: Tensor, y: Tensor) -> Tensor:
        x = independent(x)
        if x.shape[1] == 0:
            return x.new_zeros(len(x))
        y = torch.unique(y, return_inverse=True)[1]
        x, column = distinct_pairs(x, y[:, None].double())
        x, y = shared(x, column.squeeze(1).long())
        rows, which = distinct(x)
        check_count(len(rows), self.k + 1, "x without repeated rows")
        terms = _surprise(rows, self.k)[which]
        for label in range(int(y.max()) + 1):
            members = torch.nonzero(y == label).squeeze(1)
            terms[members] -= _surprise(x[members], min(self.k, len(members) - 1))
        return terms


def _surprise(x: Tensor, k: int) -> Tensor:
    """-log density at each row [n], without the volume of the unit ball."""
    radius = distances(x, k)[:, -1]
    count, order = x.new_tensor(float(len(x))), x.new_tensor(float(k))
    return torch.digamma(count) - torch.digamma(order) + x.shape[1] * radius.log()
