"""The larger of two estimates that fail in different places, both downwards."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.mi.base import Estimate
from grokplane.mi.joint_kl import JointKL
from grokplane.mi.ksg import KSG
from grokplane.options import check_options, option


@dataclass(frozen=True)
class Larger:
    """The larger of `JointKL` and `KSG`.

    Where they fail they come out too low: JointKL where samples stand in clusters far apart (by up to 5 nats where
    the clusters' places in X and Y depend linearly on each other), KSG where the information is large for the number of
    samples or sits in few of many columns. The larger of the two had the smallest mean error over all cases tried
    (docs/mi.md), which is why `mi=default` takes it. KSG averages over `rows` rows only, which makes it cheap.

    It is too low where both are: strongly bent dependence in many dimensions, information within small clusters. The
    larger of two noisy values is too large by about half their noise; in ten clusters of 100
    rows each it was up to 0.25 too large. The scale of a side does not matter (KSG gets each divided by the median
    distance of its values from their medians), other linear maps do where KSG's value is taken. Degenerate input: as
    `JointKL`, whose refusals hold.

    Standard error: that of the estimate taken.
    """

    k: int = option(1, "which neighbour in JointKL", at_least=1)
    shuffles: int = option(1, "shuffles of JointKL", at_least=1)
    seed: int = option(0, "draws the shuffles", at_least=0)
    ksg_k: int = option(3, "which neighbour in KSG", at_least=1)
    rows: int | None = option(2500, "how many rows KSG's mean is taken over; null: all", at_least=2)

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, x: Tensor, y: Tensor) -> Estimate:
        """Mutual information of x [..., N, dx] and y [..., N, dy] in nats.

        Raises:
            ValueError: where one of the two cannot be had: linearly dependent x and y, too few distinct rows.
        """
        joint = JointKL(self.k, self.shuffles, self.seed)(x, y)
        counted = KSG(self.ksg_k, rows=self.rows)(_scaled(x), _scaled(y))
        above = joint.value >= counted.value
        return Estimate(*(torch.where(above, one, other) for one, other in zip(joint, counted, strict=True)))


def _scaled(x: Tensor) -> Tensor:
    """A side [..., N, d] divided by its values' median distance from their column's median, if not 0."""
    x = x.double()
    size = (x - x.median(-2, keepdim=True).values).abs().flatten(-2).median(-1).values[..., None, None]
    return torch.where(size > 0, x / size, x)


GROUP = "mi/input"
CHOICES = {"larger": Larger}
