"""Mutual information with labels from entropies of the `mutinfo` package (`grokplane.mi.external`)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from grokplane.mi.base import Array, Estimate, labels, over_batch, samples
from grokplane.mi.ceiling import bounded
from grokplane.mi.external import estimate_of, package
from grokplane.mi.ross import shared
from grokplane.mi.ties import spread
from grokplane.options import check_options, option


@dataclass(frozen=True)
class MutinfoLabels:
    """h(X) - sum_y p(y) h(X|y) with `mutinfo.estimators.knn.WKL.entropy`; the package has no estimator for labels.

    A class of k or fewer samples uses all of them as neighbours; a class of one sample is left out. Equal values are
    spread apart. Like `ClassKL`, the estimate can exceed H(Y).

    Standard error: the errors of the entropies in quadrature, which neglects their covariance.
    """

    k: int = option(5, "number of neighbours", at_least=1)

    def __post_init__(self) -> None:
        check_options(self)
        package()

    def __call__(self, x: Array, y: Array) -> Estimate:
        """Mutual information in nats of x [..., N, d] and labels y [..., N].

        Raises:
            ValueError: for k or fewer samples, no class of two samples, or a result that is not finite.
        """
        return over_batch(bounded(self._one, "MutinfoLabels"), samples(x, least=self.k + 1), labels(y), events=(2, 1))

    def _one(self, x: Tensor, y: Tensor) -> Estimate:
        x, y = shared(spread(x, "x"), y)
        value, error = self._entropy(x)
        square = error**2
        for label in y.unique():
            members = x[y == label]
            share = len(members) / len(x)
            inside, error = self._entropy(members)
            value, square = value - share * inside, square + (share * error) ** 2
        return estimate_of(x, value, square**0.5)

    def _entropy(self, x: Tensor) -> tuple[float, float]:
        estimator = package().WKL(k_neighbors=min(self.k, len(x) - 1))
        return estimator.entropy(x.cpu().numpy(), std=True)


GROUP = "mi/label_estimator"
CHOICES = {"mutinfo": MutinfoLabels}
