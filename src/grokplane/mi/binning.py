"""Mutual information of binned activations, the first estimate used on the information plane."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.mi.base import Array, Estimate, as_tensor, samples
from grokplane.mi.discrete import Discrete
from grokplane.options import check_options, option
from grokplane.random import generator


@dataclass(frozen=True)
class Binning:
    """Plug-in estimate after binning: each column has bins of equal width, and a row's bins form one discrete value.

    Shwartz-Ziv and Tishby 2017 (arXiv 1703.00810). The bins of a column lie between its minimum and its maximum
    (in the paper between -1 and 1, for tanh); a constant column has one bin. For I(X;T) of a network on N distinct
    inputs pass the numbers 0..N-1 as X: the value is then H(bin(T)).

    The estimate is the information of the binned variable. A deterministic layer with continuous inputs has infinite
    information, and the value mostly shows how clustered the rows are at the scale of a bin (Goldfeld et al. 2019).
    The value is at most ln N. With more than a few columns it is close to ln N (or to H(Y)), because nearly every row
    has a bin pattern of its own. The Miller-Madow correction can raise it above ln N by up to 0.5. One outlier makes
    the bins of its column useless.

    Standard error: that of `Discrete`, of the binned variables.
    """

    bins: int = option(30, "bins per column", at_least=2)
    miller_madow: bool = option(False, "apply the Miller-Madow bias correction")

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, x: Array, y: Array) -> Estimate:
        """Mutual information in nats; floating-point arguments [..., N, d] are binned, integers [..., N] are labels."""
        return Discrete(self.miller_madow)(self._labels(x, "x"), self._labels(y, "y"))

    def _labels(self, x: Array, name: str) -> Tensor:
        x = as_tensor(x, name)
        return patterns(samples(x, name), self.bins) if x.is_floating_point() else x


def patterns(x: Tensor, bins: int) -> Tensor:
    """Hash of the bins of each sample [..., N] int64, for x [..., N, d].

    The hash is the sum over columns of the bin times a random odd 64-bit factor, modulo 2^64. Two different rows have
    the same hash with probability below bins / 2^63.
    """
    low, high = x.amin(-2, keepdim=True), x.amax(-2, keepdim=True)
    width = torch.where(high > low, high - low, 1)
    cell = ((x - low) / width * bins).long().clamp_max(bins - 1)
    factor = torch.randint(-(2**62), 2**62, (x.shape[-1],), generator=generator(0, "patterns")) * 2 + 1
    return (cell * factor.to(x.device)).sum(-1)


GROUP = "mi/input_estimator"
CHOICES = {"binning": Binning}
