"""Mutual information from one nearest-neighbour entropy of the pair, against that of shuffled pairs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from grokplane.mi.base import Estimate, mean_of
from grokplane.mi.entropy import entropy_of, kl_terms, remembered
from grokplane.mi.shuffled import AgainstShuffles
from grokplane.options import option


@dataclass(frozen=True)
class JointKL(AgainstShuffles):
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

    def _compared(self, x: Tensor, y: Tensor) -> Estimate:
        rule = partial(kl_terms, k=self.k)
        both = entropy_of(torch.cat([x, y], 1), rule, True)
        shuffled = torch.stack([entropy_of(torch.cat([x, y[order]], 1), rule, True).value for order in self._orders(x)])
        marginals = remembered(x, rule, True, ("kl", self.k)).terms + entropy_of(y, rule, True).terms
        errors = [mean_of(marginals - both.terms).std_error, mean_of(shuffled).std_error]
        return Estimate(shuffled.mean() - both.value, torch.hypot(*errors))


GROUP = "mi/input_estimator"
CHOICES = {"joint_kl": JointKL}
