"""Entropy and mutual information of discrete variables from counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.mi.base import Array, Estimate, labels, mean_of, over_batch
from grokplane.mi.ceiling import bounded
from grokplane.options import check_options, option


@dataclass(frozen=True)
class Discrete:
    """I(X;Y) of two discrete variables by the plug-in formula sum p(x,y) log(p(x,y) / (p(x) p(y))) of the counts.

    The Miller-Madow correction (Miller 1955, "Note on the bias of information estimates") removes the first order of
    the bias: it adds (K_x + K_y - K_xy - 1) / (2N), where K is the number of observed values. The plug-in value is
    biased upwards. It lies between 0 and the smaller entropy, so it is at most ln N. The corrected value can be
    negative. Neither is meaningful if most pairs occur once.

    Standard error: standard deviation of log(p(x,y) / (p(x) p(y))) over the square root of N, the first-order (delta
    method) error. At independence it is 0, although the true error is of order 1/N.
    """

    miller_madow: bool = option(True, "apply the Miller-Madow bias correction")

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, x: Array, y: Array) -> Estimate:
        """Mutual information in nats of labels x and y [..., N]."""
        return over_batch(bounded(self._one, "Discrete"), labels(x, "x"), labels(y), events=(1, 1))

    def _one(self, x: Tensor, y: Tensor) -> Estimate:
        both = torch.unique(torch.stack([x, y], 1), dim=0, return_inverse=True)[1]
        (of_x, some_x), (of_y, some_y), (of_both, some_both) = (_surprise(part) for part in (x, y, both))
        found = mean_of(of_x + of_y - of_both)
        correction = (some_x + some_y - some_both - 1) / (2 * len(x)) if self.miller_madow else 0.0
        return Estimate(found.value + correction, found.std_error)


def label_entropy(y: Array, miller_madow: bool = False) -> Estimate:
    """H(Y) of labels [..., N] in nats by the plug-in formula -sum p log p.

    Args:
        y: integer labels [..., N].
        miller_madow: add (K - 1) / (2N), where K is the number of observed labels (see `Discrete`).
    """

    def one(y: Tensor) -> Estimate:
        surprise, some = _surprise(y)
        found = mean_of(surprise)
        return Estimate(found.value + (some - 1) / (2 * len(y)) * miller_madow, found.std_error)

    y = labels(y, least=1)
    return over_batch(lambda y: one(y.squeeze(-1)), y.unsqueeze(-1))


def _surprise(y: Tensor) -> tuple[Tensor, int]:
    """-log of the frequency of each sample's label [N], and the number of distinct labels."""
    _, which, size = torch.unique(y, return_inverse=True, return_counts=True)
    return -(size[which].double() / len(y)).log(), len(size)
