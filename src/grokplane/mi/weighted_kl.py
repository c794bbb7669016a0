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
    """h(X) + h(Y) - h(X, Y) by Berrett, Samworth and Yuan's weighted entropies; with `rescale` the Information-v3 form.

    Each of X, Y and (X, Y) is whitened by its own sample covariance (half its log determinant is added), so the value
    is invariant to invertible linear maps of X and of Y. In at most 4 dimensions only the first neighbour counts and k
    has no effect (`neighbour_weights`; a warning is logged once).

    The three radii differ, so biases do not cancel (values fall below 0), and the spread is large beyond 4 dimensions.
    Columns that are constant or linear combinations of others are left out, also duplicate rows; a constant side
    gives 0. Equal values are drawn apart (`ties`). One row far out makes it meaningless: `KSG` bears it. Without
    `rescale` each side is divided by its size.

    Standard error: deviation of the three terms combined per sample, over the root of N.
    """

    k: int = option(20, "the farthest neighbour used in more than 4 dimensions", at_least=1)
    rescale: bool = option(True, "whiten each sample first and add half the log determinant of its covariance")

    def __post_init__(self) -> None:
        check_options(self)

    def unread_in(self, dims: int) -> dict[str, str]:
        """The keys that mean nothing for samples of so many dimensions in all, and why."""
        return {"k": "in at most 4 dimensions the first neighbour alone counts"} if dims <= 4 else {}

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
