"""Mean mutual information over random projections, for vectors that are too long for a direct estimate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.mi.base import Array, Estimate, as_tensor, check_count, labels, over_batch, samples
from grokplane.mi.ceiling import bounded
from grokplane.mi.degenerate import varying
from grokplane.mi.entropy import nothing
from grokplane.mi.neighbours import counts, distances
from grokplane.mi.ross import ross_terms, shared
from grokplane.mi.scale import at_one_scale
from grokplane.mi.sorted1d import count_within
from grokplane.mi.sorted_ross import sorted_ross_terms
from grokplane.mi.ties import observations, spread
from grokplane.options import check_options, option
from grokplane.random import generator

CHUNK = 2**20  # projected numbers per chunk


@dataclass(frozen=True)
class Sliced:
    """k-sliced mutual information: the mean of I(A'X; B'Y) over random A and B with orthonormal columns.

    Goldfeld and Greenewald 2021, "Sliced mutual information: a scalable measure of statistical dependence" (NeurIPS;
    arXiv 2110.05279), and Goldfeld et al. 2022, "k-Sliced mutual information", for `slice_dim` above 1. Each
    projected pair is estimated by KSG (variant 1, with its treatment of scales and equal values); for labels,
    I(A'X; Y) is estimated by Ross.

    Sliced information is a quantity of its own and differs from I(X;Y). It is at most I(X;Y) (data processing) and
    usually far less, in particular in many dimensions; it is 0 only at independence. It is invariant to rotations and
    scales of X and of Y, but not to other linear maps. Its advantage is that its error does not grow with the
    dimension. Rows (x, y) that repeat an observation, constant columns and classes of one sample are left out. A
    constant side gives exactly 0 (for labels the value of Ross, -(classes - 1) / N).

    Standard error: the error of the samples (standard deviation of the terms averaged over projections, over the square
    root of N) and the error of the projections (standard deviation of the values over the square root of their number),
    in quadrature.
    """

    projections: int = option(1000, "number of random projections", at_least=2)
    k: int = option(3, "number of neighbours", at_least=1)
    slice_dim: int = option(1, "dimensions of a projection", at_least=1)
    seed: int = option(0, "seed of the projections", at_least=0)

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, x: Array, y: Array) -> Estimate:
        """Value in nats for x [..., N, dx] and y [..., N, dy] or labels [..., N]; leading axes share the projections.

        Raises:
            ValueError: for fewer columns than `slice_dim`, too few distinct rows, or no class of two samples.
        """
        x = self._wide(samples(x), "x")
        y = as_tensor(y, "y")
        if y.is_floating_point():
            return over_batch(bounded(self._against_values, "Sliced"), x, self._wide(samples(y, "y"), "y"))
        return over_batch(bounded(self._against_labels, "Sliced"), x, labels(y), events=(2, 1))

    def _wide(self, x: Tensor, name: str) -> Tensor:
        if x.shape[-1] < self.slice_dim:
            raise ValueError(f"{name} has {x.shape[-1]} columns: must have at least slice_dim={self.slice_dim}")
        return x

    def _against_values(self, x: Tensor, y: Tensor) -> Estimate:
        if varying(x).shape[1] == 0 or varying(y).shape[1] == 0:
            return nothing(x)
        x, y = observations(x, y)
        check_count(len(x), self.k + 2, f"the set of distinct rows (k={self.k})")
        sides = zip(self._slices(x, "x"), self._slices(y, "y"), strict=True)
        return _summary(_ksg_terms(_continuous(left, "x"), _continuous(right, "y"), self.k) for left, right in sides)

    def _against_labels(self, x: Tensor, y: Tensor) -> Estimate:
        x, y = shared(x, y)
        terms = _lines_against(y, self.k) if self.slice_dim == 1 else _planes_against(y, self.k)
        return _summary(terms(part) for part in self._slices(x, "x"))

    def _slices(self, x: Tensor, side: str) -> Iterator[Tensor]:
        """Projections [P, N, slice_dim] of x [N, d], in chunks."""
        frame = frames(self.projections, x.shape[1], self.slice_dim, self.seed, side).to(x.device)
        centred = x - x.mean(0)
        for part in frame.split(max(1, CHUNK // (len(x) * self.slice_dim))):
            yield centred @ part


def frames(count: int, columns: int, size: int, seed: int, side: str = "x") -> Tensor:
    """`count` uniformly random matrices with orthonormal columns [count, columns, size], by QR of normal matrices."""
    normal = torch.randn(count, columns, size, dtype=torch.float64, generator=generator(seed, f"slices/{side}"))
    return torch.linalg.qr(normal).Q


def _summary(parts: Iterator[Tensor]) -> Estimate:
    """The estimate from terms [P, N] of chunks of projections."""
    values, total = [], None
    for terms in parts:
        values.append(terms.mean(1))
        total = terms.sum(0) if total is None else total + terms.sum(0)
    value = torch.cat(values)
    assert total is not None  # there are at least two projections
    of_samples = (total / len(value)).std() / len(total) ** 0.5
    return Estimate(value.mean(), torch.hypot(of_samples, value.std() / len(value) ** 0.5))


def _continuous(x: Tensor, side: str) -> Tensor:
    """Projections [P, N, s] with equal values spread apart, each normalised (`at_one_scale`)."""
    return at_one_scale(spread(x, side))


def _ksg_terms(x: Tensor, y: Tensor, k: int) -> Tensor:
    """KSG terms [P, N] of projected pairs x, y [P, N, s] (Kraskov et al. 2004, equation 8)."""
    radius = distances(torch.cat([x, y], -1), k, "chebyshev")[..., -1].contiguous()
    around = sum(torch.digamma(_nearer(side, radius).double() + 1) for side in (x, y))
    own = torch.digamma(x.new_tensor([float(k), float(x.shape[1])])).sum()
    return own - around


def _nearer(x: Tensor, radius: Tensor) -> Tensor:
    """Number of other points closer than the radius [P, N], for x [P, N, s]; by sorting if s = 1."""
    if x.shape[-1] > 1:
        return counts(x, radius)
    line, order = x.squeeze(-1).sort(-1)
    found = count_within(line, radius.gather(-1, order), strict=True)
    return torch.empty_like(found).scatter_(-1, order, found)


def _lines_against(y: Tensor, k: int) -> Callable[[Tensor], Tensor]:
    return lambda x: sorted_ross_terms(x.squeeze(-1), y, k)


def _planes_against(y: Tensor, k: int) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.stack([ross_terms(part, y, k) for part in x])


GROUP = "mi/input_estimator"
CHOICES = {"sliced": Sliced}
