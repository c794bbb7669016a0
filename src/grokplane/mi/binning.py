"""Information from binned activations, the estimate that started the field."""

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
    """Each column cut into equal bins, each row's bins taken as one discrete value, then the plug-in formula.

    Shwartz-Ziv and Tishby 2017 (arXiv 1703.00810). The bins of a column lie between its smallest and its largest
    value (theirs between -1 and 1, for tanh); a constant column has one bin. For I(X;T) of a net on N distinct inputs
    give X as the numbers 0..N-1: the value is then H(bin(T)).

    What it measures is the binned variable. A deterministic layer with continuous inputs has infinite information,
    and the value tells mostly how clustered the rows are at the scale of a bin (Goldfeld et al. 2019). The value is at
    most ln N and, with more than a few columns, close to that (or to H(Y)) because nearly every row is a pattern of its
    own; Miller and Madow's term can lift it above ln N by up to a half. One far value makes its column's bins useless.

    Standard error: that of `Discrete`, of the binned variables.
    """

    bins: int = option(30, "bins a column", at_least=2)
    miller_madow: bool = option(False, "correct the bias by Miller and Madow's term")

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, x: Array, y: Array) -> Estimate:
        """Nats; a floating point argument [..., N, d] is binned, an integer one [..., N] is taken as labels."""
        return Discrete(self.miller_madow)(self._labels(x, "x"), self._labels(y, "y"))

    def _labels(self, x: Array, name: str) -> Tensor:
        x = as_tensor(x, name)
        return patterns(samples(x, name), self.bins) if x.is_floating_point() else x


def patterns(x: Tensor, bins: int) -> Tensor:
    """A number for the row of bins of each sample [..., N] int64, for x [..., N, d].

    Rows are hashed: the sum of bin times a random odd 64-bit factor a column, modulo 2^64. Two rows that
    differ share a number with probability below bins / 2^63.
    """
    low, high = x.amin(-2, keepdim=True), x.amax(-2, keepdim=True)
    width = torch.where(high > low, high - low, 1)
    cell = ((x - low) / width * bins).long().clamp_max(bins - 1)
    factor = torch.randint(-(2**62), 2**62, (x.shape[-1],), generator=generator(0, "patterns")) * 2 + 1
    return (cell * factor.to(x.device)).sum(-1)


GROUP = "mi/input_estimator"
CHOICES = {"binning": Binning}
