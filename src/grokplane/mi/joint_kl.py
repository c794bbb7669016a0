"""Mutual information from one nearest-neighbour entropy of the pair, against that of shuffled pairs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from grokplane.mi.base import Estimate, check_count, mean_of, over_batch, samples
from grokplane.mi.degenerate import distinct_pairs, independent_pairs
from grokplane.mi.entropy import entropy_of, kl_terms, nothing, remembered
from grokplane.options import check_options, option
from grokplane.random import generator


@dataclass(frozen=True)
class JointKL:
    """h(X) + h(Y) - h(X, Y) with the same k in all three, minus the mean of that over shuffled pairs.

    Each entropy is Kozachenko and Leonenko's of the sample whitened by its own covariance, plus half the log
    determinant. Shuffling changes neither h(X) nor h(Y), so the value is the mean of h(X, shuffled Y) minus h(X, Y):
    two entropies in the same space, whose biases cancel at independence. Invariant to invertible linear maps of X and
    of Y, unbiased at independence; too small where X and Y are nearly a function of each other in many dimensions.

    Columns that are constant or linear combinations of others are left out, also duplicate rows; a constant side
    gives 0. One row far out on both sides ruins the covariances and with them the value: KSG bears it.

    Standard error: deviation of the three terms combined per sample, over the root of N, and of the shuffled values,
    over the root of their number, in quadrature; up to half too large at independence, where most of it cancels.
    """

    k: int = option(3, "which neighbour", at_least=1)
    shuffles: int = option(8, "how many shuffles the subtracted value is the mean of", at_least=1)
    seed: int = option(0, "draws the shuffles", at_least=0)

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, x: Tensor, y: Tensor) -> Estimate:
        """Mutual information of x [..., N, dx] and y [..., N, dy] in nats; all leading axes get the same shuffles.

        Raises:
            ValueError: for linearly dependent x and y (infinite information), or too few distinct rows.
        """
        return over_batch(self._one, samples(x, "x"), samples(y, "y"))

    def _one(self, x: Tensor, y: Tensor) -> Estimate:
        x, y = independent_pairs(*distinct_pairs(x, y))
        if x.shape[1] == 0 or y.shape[1] == 0:
            return nothing(x)
        check_count(len(x), self.k + 1, f"the set of distinct rows (k={self.k})")
        rule = partial(kl_terms, k=self.k)
        both = entropy_of(torch.cat([x, y], 1), rule, True)
        shuffled = torch.stack([entropy_of(torch.cat([x, y[order]], 1), rule, True).value for order in self._orders(x)])
        marginals = remembered(x, rule, True, ("kl", self.k)).terms + entropy_of(y, rule, True).terms
        errors = [mean_of(marginals - both.terms).std_error, mean_of(shuffled).std_error]
        return Estimate(shuffled.mean() - both.value, torch.hypot(*errors))

    def _orders(self, x: Tensor) -> list[Tensor]:
        stream = generator(self.seed, "shuffled pairs")
        return [torch.randperm(len(x), generator=stream).to(x.device) for _ in range(self.shuffles)]


GROUP = "mi/input"
CHOICES = {"joint_kl": JointKL}
