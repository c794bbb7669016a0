"""Vectors with labels whose mutual information is known from their densities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from mi_cases import CLUSTERS, Case, normal
from torch import Tensor

from grokplane.random import generator

MONTE_CARLO = 100_000  # samples behind a truth


@dataclass(frozen=True)
class Classes:
    """Vectors from a mixture of normals with diagonal covariances, labels naming groups of its components.

    Attributes:
        centre: [C, d] of the components.
        spread: standard deviations [C, d].
        label: class of each component [C].
        share: weight of each component [C], summing to 1.
    """

    centre: Tensor
    spread: Tensor
    label: Tensor
    share: Tensor

    def draw(self, stream: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
        """Rows [n, d] and labels [n]."""
        which = torch.multinomial(self.share, count, replacement=True, generator=stream)
        x = self.centre[which] + self.spread[which] * normal(stream, count, self.centre.shape[1])
        return x, self.label[which]

    def truth(self) -> float:
        """Mean of log p(x | y) / p(x) under the exact densities over a large sample (error about 0.003)."""
        x, y = self.draw(generator(0, "truth"), MONTE_CARLO)
        terms = [self._log_joint(x, own) for own in range(len(self.share))]
        every = torch.stack(terms, 1)
        inside = every.masked_fill(self.label != y[:, None], -torch.inf)
        weight = torch.zeros(int(self.label.max()) + 1, dtype=torch.float64).index_add_(0, self.label, self.share)
        return float((inside.logsumexp(1) - every.logsumexp(1) - weight[y].log()).mean())

    def _log_joint(self, x: Tensor, own: int) -> Tensor:
        """log of weight times density of one component at each row, without the factor that all share."""
        scaled = (x - self.centre[own]) / self.spread[own]
        return self.share[own].log() - self.spread[own].log().sum() - scaled.square().sum(1) / 2


def _classes(parts: int, gap: list[float], spread: list[float], tilt: float = 0.0) -> Classes:
    """Ten classes of `parts` components each in 4 dimensions, centres normal with deviations `gap`."""
    count = CLUSTERS * parts
    label = torch.arange(count) % CLUSTERS
    share = torch.exp(-tilt * label.double())
    centre = torch.tensor(gap, dtype=torch.float64) * normal(generator(3, "centres"), count, 4)
    return Classes(centre, torch.tensor(spread, dtype=torch.float64).expand(count, 4), label, share / share.sum())


def _sheets(thin: float) -> Classes:
    """Ten overlapping classes, each thin in one of the four directions."""
    wide = _classes(1, [0.5] * 4, [1.0] * 4)
    spread = torch.where(torch.arange(4) == (wide.label % 4)[:, None], thin, 1.0).double()
    return Classes(wide.centre, spread, wide.label, wide.share)


def labelled() -> Iterator[Case]:
    """Every case of a 4-dimensional vector against one of ten labels."""
    one, small = [1.0] * 4, [0.5] * 4
    kinds = {
        "independent": {"one": _classes(1, [0.0] * 4, one)},
        "normal": {f"{gap}": _classes(1, [gap] * 4, one) for gap in (0.5, 1.0, 2.0)},
        "unequal shares": {f"{gap}": _classes(1, [gap] * 4, one, 0.4) for gap in (1.0, 50.0)},
        "far apart": {f"{gap}": _classes(1, [gap] * 4, small) for gap in (10.0, 1000.0)},
        "many clusters": {f"{parts}": _classes(parts, [6.0] * 4, small) for parts in (3, 10)},
        "sheets": {f"{thin}": _sheets(thin) for thin in (0.1, 0.003)},
        "wide noise": {f"{wide}": _classes(1, [1, 1, 0, 0], [0.5, 0.5, wide, wide]) for wide in (2.0, 10.0)},
    }
    for family, members in kinds.items():
        for name, classes in members.items():
            yield Case(family, name, classes.truth(), classes.draw)
