"""Information between a continuous variable and labels, as a difference of entropies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from grokplane.mi.base import Array, Estimate, check_count, labels, mean_of, over_batch, samples
from grokplane.mi.ceiling import bounded
from grokplane.mi.degenerate import distinct, independent, rank, whiten
from grokplane.mi.entropy import kl_terms, remembered, weighted_terms
from grokplane.mi.ross import shared
from grokplane.mi.ties import observations, spread, values
from grokplane.options import check_options, option


@dataclass(frozen=True)
class ClassKL:
    """I(X;Y) = h(X) - sum_y p(y) h(X|y), each entropy from nearest neighbours in the sample and in the class.

    h is Kozachenko and Leonenko's (1987), psi(n) - psi(k) + log V_d + (d / n) sum log r_i with r_i the Euclidean
    distance to the k-th neighbour; with `weighted` it is Berrett, Samworth and Yuan's (`weighted_terms`), which has
    log(n - 1); with `rescale` each sample is whitened by its own covariance first. `ClassKL(20, weighted=True,
    rescale=True)` is the I(L;Y) of the Information-v3 library.

    The radii within a class are larger than those in all, so the two biases do not cancel: it overshoots H(Y) where
    classes are small or thin, by far (3.1 nats measured where H(Y) is 2.3). `Ross` is the better choice; this one is
    for comparison with published curves; `rescale` makes it worse in classes of several clusters (2.8 nats above H(Y)).

    Degenerate input: constant and linearly dependent columns are left out; a row that repeats one of its class is left
    out, and each entropy is taken over distinct rows; a class of k or fewer rows uses all it has; a class of one
    is left out. With `weighted`, in more than 4 dimensions, a class of d or fewer rows uses its first neighbour alone.
    With `rescale`, a class that has fewer than d + 2 rows or fills fewer than d dimensions is whitened by the
    covariance of all rows. X that is constant gives exactly 0. Equal values are drawn apart (`ties`), so that
    X = one-hot(Y) gives about H(Y).

    Standard error: deviation of the combined terms over the root of N, so that the covariance of the entropies is
    accounted for.
    """

    k: int = option(3, "which neighbour; with `weighted` the farthest used in more than 4 dimensions", at_least=1)
    weighted: bool = option(False, "several neighbours, weighted so that the bias's leading terms cancel")
    rescale: bool = option(False, "whiten each sample first and add half the log determinant of its covariance")

    def __post_init__(self) -> None:
        check_options(self)

    def unread_in(self, dims: int) -> dict[str, str]:
        """The keys that mean nothing for samples of so many dimensions in all, and why."""
        return {"k": "in at most 4 dimensions the first neighbour alone counts"} if self.weighted and dims <= 4 else {}

    def __call__(self, x: Array, y: Array) -> Estimate:
        """Nats, for x [..., N, d] and labels y [..., N].

        Raises:
            ValueError: for k or fewer distinct rows, if no class has two, or with `weighted` for k < d where d > 4.
        """
        x, y = samples(x, least=self.k + 1), labels(y)
        return over_batch(bounded(lambda x, y: mean_of(self._terms(x, y)), "ClassKL"), x, y, events=(2, 1))

    def _terms(self, x: Tensor, y: Tensor) -> Tensor:
        x = independent(x)
        if x.shape[1] == 0:
            return x.new_zeros(len(x))
        y = torch.unique(y, return_inverse=True)[1]
        x, column = observations(x, y[:, None].double())
        x, y = shared(spread(values(x), "x"), column.squeeze(1).long())
        rows, which = distinct(x)
        check_count(len(rows), self.k + 1, "x without repeated rows")
        terms = self._whole(rows)[which]
        for label in range(int(y.max()) + 1):
            members = torch.nonzero(y == label).squeeze(1)
            shaped, log_det = self._shaped(x[members], rows)
            terms[members] -= self._of_class(shaped) + log_det
        return terms

    def _whole(self, rows: Tensor) -> Tensor:
        """-log density of all at each of the distinct rows [M]."""
        if self.weighted:
            return remembered(rows, partial(weighted_terms, k=self.k), self.rescale, ("weighted", self.k)).terms
        shaped, log_det = whiten(rows) if self.rescale else (rows, rows.new_zeros(()))
        return _exact_terms(shaped, self.k) + log_det

    def _shaped(self, members: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """A class [n, d] as `rescale` says, and what its entropy lacks; `rows` are all distinct ones."""
        if not self.rescale:
            return members, members.new_zeros(())
        count, dims = members.shape
        if count >= dims + 2 and rank(members) == dims:
            return whiten(members)
        return whiten(members, like=rows)

    def _of_class(self, x: Tensor) -> Tensor:
        """-log density of a class [n, d] at its rows [n]."""
        k = min(self.k, len(x) - 1)
        if not self.weighted:
            return _exact_terms(x, k)
        return kl_terms(x, 1) if x.shape[1] > max(4, k) else weighted_terms(x, k)


def _exact_terms(x: Tensor, k: int) -> Tensor:
    """Kozachenko and Leonenko's terms [n] with psi(n) in the place of log(n - 1), exact for a uniform density."""
    count = x.new_tensor(float(len(x)))
    return kl_terms(x, k) + torch.digamma(count) - torch.log(count - 1)


GROUP = "mi/label_estimator"
CHOICES = {"class_kl": ClassKL}
