"""Pairs of vectors whose mutual information is known; `mi_label_cases` has those with labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from scipy.special import digamma, gammaln
from torch import Tensor

from grokplane.random import generator

CLUSTERS = 10


@dataclass(frozen=True)
class Case:
    """A distribution.

    Attributes:
        family: what it is averaged with.
        name: its own.
        truth: mutual information in nats.
        draw: n samples (x [n, dx], y [n, dy] or labels [n]) from a random stream.
    """

    family: str
    name: str
    truth: float
    draw: Callable[[torch.Generator, int], tuple[Tensor, Tensor]]


def normal(stream: torch.Generator, *shape: int) -> Tensor:
    """Standard normal float64."""
    return torch.randn(*shape, dtype=torch.float64, generator=stream)


def turned(x: Tensor, name: str) -> Tensor:
    """Rotated by a fixed random rotation and stretched by factors from 1 to 3."""
    dims = x.shape[1]
    turn = torch.linalg.qr(normal(generator(0, name), dims, dims)).Q
    return x @ turn * torch.linspace(1, 3, dims, dtype=torch.float64)


def correlated(stream: torch.Generator, count: int, information: list[float]) -> tuple[Tensor, Tensor]:
    """Independent pairs of normals, each with its own information -log(1 - rho^2) / 2."""
    rho = (1 - torch.exp(-2 * torch.tensor(information, dtype=torch.float64))).sqrt()
    x = normal(stream, count, len(information))
    return x, rho * x + (1 - rho**2).sqrt() * normal(stream, count, len(information))


def normals(information: list[float], warp: Callable[[Tensor], Tensor], keep: int | None = None):
    """Correlated normals, rotated, each side under an invertible map; of y only the first `keep` columns."""

    def draw(stream: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
        x, y = correlated(stream, count, information)
        return warp(turned(x, "x")), warp(turned(y[:, :keep], "y"))

    return draw


def bent(x: Tensor) -> Tensor:
    """A strongly non-linear invertible map of [n, d]: powers, and for d > 1 columns that shift and scale others."""
    x = x / torch.linspace(1, 3, x.shape[1], dtype=torch.float64)
    half = x.shape[1] // 2
    if half == 0:
        return x.sign() * x.abs() ** 1.7
    first, second = x[:, :half], x[:, half:]
    second = second * torch.exp(0.7 * torch.tanh(first)) + 2 * torch.sin(2 * first)
    first = first + 0.5 * torch.tanh(2 * second)
    return torch.cat([first, second.sign() * second.abs() ** 1.3], 1)


def uniform(stream: torch.Generator, count: int, dims: int, width: float) -> tuple[Tensor, Tensor]:
    """Uniform X in [0, 1]^d and Y = X + U(-width, width)."""
    x, noise = torch.rand(2, count, dims, dtype=torch.float64, generator=stream)
    return x, x + width * (2 * noise - 1)


def uniform_truth(dims: int, width: float) -> float:
    """Of `uniform`: a trapezoid's entropy less ln(2 width), a column."""
    return dims * (width - math.log(2 * width) if width <= 0.5 else 1 / (4 * width))


def student(stream: torch.Generator, count: int, dims: int, freedom: float, information: float):
    """Multivariate t: correlated normals over one common chi variable."""
    x, y = correlated(stream, count, [information / dims] * dims)
    parts = normal(stream, count, int(freedom)).square().sum(1, keepdim=True)
    chi = (parts / freedom).sqrt()
    return turned(x / chi, "x"), turned(y / chi, "y")


def student_truth(dims: int, freedom: float, information: float) -> float:
    """h(X) + h(Y) - h(X, Y) of multivariate t distributions; dependent even where the normals are not."""

    def entropy(d: int) -> float:
        total = (freedom + d) / 2
        scale = gammaln(freedom / 2) - gammaln(total) + d / 2 * math.log(freedom * math.pi)
        return float(scale + total * (digamma(total) - digamma(freedom / 2)))

    return 2 * entropy(dims) - entropy(2 * dims) + information


def near_function(stream: torch.Generator, count: int, dims: int, noise: float) -> tuple[Tensor, Tensor]:
    """Normal X and a rotation of X plus little noise."""
    x = normal(stream, count, dims)
    return x, turned(x + noise * normal(stream, count, dims), "y")


def centres(dims: int, name: str) -> Tensor:
    """Ten points far apart beside 1 [10, d]: on a circle of radius 40 in an order of their own, or normal."""
    stream = generator(1, f"centres/{name}")
    if dims == 2:
        angle = torch.randperm(CLUSTERS, generator=stream).double() * (2 * math.pi / CLUSTERS)
        return 40 * torch.stack([angle.cos(), angle.sin()], 1)
    return 30 * normal(stream, CLUSTERS, dims)


def clusters(stream: torch.Generator, count: int, alike: bool, change: float, information: list[float]):
    """Both sides in ten clusters; y's is x's but for a share `change` drawn anew; correlated normals within.

    The centres of x and y are drawn apart, or are the same (`alike`).
    """
    dims = len(information)
    x, y = correlated(stream, count, information)
    of_x, other = torch.randint(CLUSTERS, (2, count), generator=stream)
    anew = torch.rand(count, generator=stream) < change
    of_y = torch.where(anew, other, of_x)
    own = centres(dims, "x" if alike else "y")
    return turned(x, "x") + centres(dims, "x")[of_x], turned(y, "y") + own[of_y]


def in_a_row(stream: torch.Generator, count: int, dims: int, gap: float) -> tuple[Tensor, Tensor]:
    """Ten clusters on a line on either side, the same ones, independent normals within."""
    place = gap * torch.randint(CLUSTERS, (count, 1), generator=stream)
    return place + normal(stream, count, dims), 1.5 * place + normal(stream, count, dims)


def clusters_truth(change: float, information: list[float]) -> float:
    """ln 10 less the entropy of the change, plus what is within."""
    same, rest = 1 - change + change / CLUSTERS, change / CLUSTERS
    channel = math.log(CLUSTERS) + same * math.log(same)
    return channel + ((CLUSTERS - 1) * rest * math.log(rest) if rest else 0.0) + sum(information)


def dead(stream: torch.Generator, count: int, information: float) -> tuple[Tensor, Tensor]:
    """2+2 correlated normals, x with a constant column besides and y with a copy of its first."""
    x, y = correlated(stream, count, [information / 2] * 2)
    return torch.cat([x, torch.full((count, 1), 0.1, dtype=torch.float64)], 1), torch.cat([y, y[:, :1]], 1)


def pairs() -> Iterator[Case]:
    """Every case of two vectors."""
    for total in (0.0, 0.5, 1.0, 2.0, 4.0):
        for dims in (1, 2):
            yield Case("normal 1, 2", f"{dims}+{dims}", total, normals([total / dims] * dims, lambda x: x))
        yield Case("normal 4+4", "even", total, normals([total / 4] * 4, lambda x: x))
        if total:
            yield Case("normal 4+4", "one pair", total, normals([total, 0, 0, 0], lambda x: x))
            yield Case("bent 1, 2", "1+1", total, normals([total], bent))
            yield Case("bent 1, 2", "2+2", total, normals([total / 2] * 2, bent))
        yield Case("bent 4+4", "even", total, normals([total / 4] * 4, bent))
    yield Case("normal 1, 2", "3+1", 1.0, normals([1.0, 0, 0], lambda x: x, 1))
    for dims, width in ((1, 0.1), (1, 0.75), (2, 0.1), (2, 0.5), (4, 0.3)):
        yield Case("uniform", f"{dims}, {width}", uniform_truth(dims, width), partial(uniform, dims=dims, width=width))
    for dims, freedom in ((1, 2), (2, 3), (4, 4)):
        for total in (0.0, 1.0):
            setting = {"dims": dims, "freedom": freedom, "information": total}
            yield Case("Student", f"{dims}, t{freedom}", student_truth(**setting), partial(student, **setting))
    for dims, alike in ((2, False), (4, False), (4, True)):
        for change, within in ((0.0, 0.0), (0.0, 1.0), (0.3, 0.5), (1.0, 0.0), (1.0, 1.0)):
            information = [within / dims] * dims
            draw = partial(clusters, alike=alike, change=change, information=information)
            family = f"clusters {dims}+{dims}{', alike' * alike}"
            yield Case(family, f"{change}, {within}", clusters_truth(change, information), draw)
    for dims, gap in ((2, 10.0), (4, 10.0), (4, 30.0)):
        yield Case("clusters in a row", f"{dims}, {gap}", math.log(CLUSTERS), partial(in_a_row, dims=dims, gap=gap))
    for dims, noise in ((1, 1e-1), (1, 1e-2), (2, 1e-1), (4, 0.3)):
        truth = dims / 2 * math.log(1 + noise**-2)
        yield Case("nearly a function", f"{dims}, {noise}", truth, partial(near_function, dims=dims, noise=noise))
    for total in (0.0, 1.0):
        yield Case("dead columns", "2+2", total, partial(dead, information=total))
