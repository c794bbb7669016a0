"""Mutual information between a continuous variable and labels, as a difference of entropies."""

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

    h is the Kozachenko-Leonenko estimator (1987), psi(n) - psi(k) + log V_d + (d / n) sum log r_i, where r_i is the
    Euclidean distance to the k-th neighbour. With `weighted`, h is the estimator of Berrett, Samworth and Yuan
    (`weighted_terms`), which has log(n - 1) instead of psi(n). With `rescale`, each sample is first whitened by its
    own covariance. `ClassKL(20, weighted=True, rescale=True)` is the I(L;Y) of the Information-v3 library.

    Distances within a class are larger than those in the whole sample, so the two biases do not cancel. The estimate
    exceeds H(Y) where classes are small or thin (3.1 nats measured where H(Y) is 2.3), and `rescale` makes this worse
    in classes of several clusters (2.8 nats above H(Y)). `Ross` is more accurate; use this estimator for comparison
    with published curves.

    Degenerate input: constant and linearly dependent columns are left out. A row that repeats a row of its class is
    left out, and each entropy is taken over distinct rows. A class of k or fewer rows uses all of them as neighbours;
    a class of one row is left out. With `weighted`, in more than 4 dimensions, a class of d or fewer rows uses its
    first neighbour only. With `rescale`, a class with fewer than d + 2 rows or a rank below d is whitened by the
    covariance of all rows. Constant X gives exactly 0. Equal values are spread apart (`ties`), so that X = one-hot(Y)
    gives about H(Y).

    Standard error: standard deviation of the combined terms over the square root of N, which includes the covariance
    of the entropies.
    """

    k: int = option(3, "k-th nearest neighbour; with `weighted` the farthest, in more than 4 dimensions", at_least=1)
    weighted: bool = option(False, "several neighbours, weighted so that the leading terms of the bias cancel")
    rescale: bool = option(False, "whiten each sample and add half the log determinant of its covariance")

    def __post_init__(self) -> None:
        check_options(self)

    def unread_in(self, dims: int) -> dict[str, str]:
        """Keys without effect for samples of `dims` dimensions in total, with the reason."""
        return {"k": "in at most 4 dimensions only the first neighbour counts"} if self.weighted and dims <= 4 else {}

    def __call__(self, x: Array, y: Array) -> Estimate:
        """Mutual information in nats of x [..., N, d] and labels y [..., N].

        Raises:
            ValueError: for k or fewer distinct rows, if no class has two rows, or with `weighted` for k < d and d > 4.
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
        """-log density of the whole sample at each of its distinct rows [M]."""
        if self.weighted:
            return remembered(rows, partial(weighted_terms, k=self.k), self.rescale, ("weighted", self.k)).terms
        shaped, log_det = whiten(rows) if self.rescale else (rows, rows.new_zeros(()))
        return _exact_terms(shaped, self.k) + log_det

    def _shaped(self, members: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Whiten a class [n, d] if `rescale` is set; return it and the log determinant to add to its entropy.

        `rows` are the distinct rows of the whole sample.
        """
        if not self.rescale:
            return members, members.new_zeros(())
        count, dims = members.shape
        if count >= dims + 2 and rank(members) == dims:
            return whiten(members)
        return whiten(members, like=rows)

    def _of_class(self, x: Tensor) -> Tensor:
        """-log density of a class [n, d] at each of its rows [n]."""
        k = min(self.k, len(x) - 1)
        if not self.weighted:
            return _exact_terms(x, k)
        return kl_terms(x, 1) if x.shape[1] > max(4, k) else weighted_terms(x, k)


def _exact_terms(x: Tensor, k: int) -> Tensor:
    """Kozachenko-Leonenko terms [n] with psi(n) instead of log(n - 1), exact for a uniform density."""
    count = x.new_tensor(float(len(x)))
    return kl_terms(x, k) + torch.digamma(count) - torch.log(count - 1)


GROUP = "mi/label_estimator"
CHOICES = {"class_kl": ClassKL}
