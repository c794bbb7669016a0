"""Mutual information as the nearest-neighbour entropy of shuffled pairs minus that of the pairs."""

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

    Each entropy is the Kozachenko-Leonenko estimate of the sample whitened by its own covariance, plus half the log
    determinant. Shuffling changes neither h(X) nor h(Y), so the value is the mean of h(X, shuffled Y) minus h(X, Y):
    two entropies in the same space, whose biases cancel at independence. The estimate is invariant to invertible
    linear maps of X and of Y and unbiased at independence. It is too low if X and Y are nearly a function of each
    other in many dimensions.

    Constant columns, columns that are linear combinations of others, and duplicate rows are left out; a constant side
    gives 0. One outlier on both sides distorts the covariances and the value; KSG is robust to it.

    Standard error: standard deviation of the three terms combined per sample, over the square root of N, and of the
    shuffled values, over the square root of their number, in quadrature. It is up to 50% too large at independence,
    where most of the variation cancels.
    """

    k: int = option(3, "k-th nearest neighbour", at_least=1)
    shuffles: int = option(8, "number of shuffles that the subtracted value is averaged over", at_least=1)
    seed: int = option(0, "seed of the shuffles", at_least=0)

    def _compared(self, x: Tensor, y: Tensor) -> Estimate:
        rule = partial(kl_terms, k=self.k)
        both = entropy_of(torch.cat([x, y], 1), rule, True)
        shuffled = torch.stack([entropy_of(torch.cat([x, y[order]], 1), rule, True).value for order in self._orders(x)])
        marginals = remembered(x, rule, True, ("kl", self.k)).terms + entropy_of(y, rule, True).terms
        errors = [mean_of(marginals - both.terms).std_error, mean_of(shuffled).std_error]
        return Estimate(shuffled.mean() - both.value, torch.hypot(*errors))


GROUP = "mi/input_estimator"
CHOICES = {"joint_kl": JointKL}
