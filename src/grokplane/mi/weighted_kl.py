"""Mutual information as a sum of three weighted nearest-neighbour entropies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from grokplane.mi.base import Array, Estimate, over_batch, samples
from grokplane.mi.ceiling import bounded
from grokplane.mi.entropy import information_of, weighted_terms
from grokplane.options import check_options, option


@dataclass(frozen=True)
class WeightedKL:
    """h(X) + h(Y) - h(X, Y) from the weighted entropies of Berrett, Samworth and Yuan.

    With `rescale` this is the form of Information-v3: each of X, Y and (X, Y) is whitened by its own sample covariance
    and half the log determinant is added, so the value is invariant to invertible linear maps of X and of Y. Without
    `rescale` each side is divided by its size. In at most 4 dimensions only the first neighbour counts and k has no
    effect (`neighbour_weights`; a warning is logged once).

    The three entropies use different radii, so their biases do not cancel and values can be negative. The variance is
    large beyond 4 dimensions. Constant columns, columns that are linear combinations of others, and duplicate rows are
    left out; a constant side gives 0. Equal values are spread apart (`ties`). One outlier makes the value meaningless;
    `KSG` is robust to outliers.

    Standard error: standard deviation of the three terms combined per sample, over the square root of N.
    """

    k: int = option(20, "farthest neighbour, in more than 4 dimensions", at_least=1)
    rescale: bool = option(True, "whiten each sample and add half the log determinant of its covariance")

    def __post_init__(self) -> None:
        check_options(self)

    def unread_in(self, dims: int) -> dict[str, str]:
        """Keys without effect for samples of `dims` dimensions in total, with the reason."""
        return {"k": "in at most 4 dimensions only the first neighbour counts"} if dims <= 4 else {}

    def __call__(self, x: Array, y: Array) -> Estimate:
        """Mutual information of x [..., N, dx] and y [..., N, dy] in nats.

        Raises:
            ValueError: for linearly dependent x and y (infinite information), too few distinct rows, or k < dx + dy
                where dx + dy > 4.
        """
        rule = partial(weighted_terms, k=self.k)
        one = partial(information_of, rule=rule, rescale=self.rescale, settings=("weighted", self.k))
        return over_batch(bounded(one, "WeightedKL"), samples(x, "x"), samples(y, "y"))


GROUP = "mi/input_estimator"
CHOICES = {"weighted_kl": WeightedKL}
