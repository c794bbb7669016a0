"""The largest eigenvalue and the trace of symmetric matrices that are known by their products with vectors.

All members are computed at once, and no member changes another: one that is not finite has values that are NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]
"""Maps vectors [E, D] to the products [E, D] of each member's symmetric matrix."""


class Largest(NamedTuple):
    """A largest eigenvalue.

    Attributes:
        value: the largest Ritz value [E] in float64; never above the largest eigenvalue, up to round-off.
        residual: norm of A v - value v for the Ritz vector v [E]; an eigenvalue lies within this distance of `value`.
    """

    value: Tensor
    residual: Tensor


def largest_eigenvalue(product: Product, start: Tensor, iterations: int) -> Largest:
    """The largest eigenvalue by the Lanczos method with full reorthogonalisation (Golub and Van Loan, 10.1 and 10.3).

    Args:
        product: products of the matrices.
        start: first vectors [E, D], of any length above 0.
        iterations: number of products; at most D are used.
    """
    members, size = start.shape
    steps = min(iterations, size)
    basis = start.new_zeros(members, steps, size)
    tridiagonal = start.new_zeros(members, steps, steps, dtype=torch.float64)
    vector, alive = _unit(start), torch.ones(members, dtype=torch.bool, device=start.device)
    beyond = start.new_zeros(members, dtype=torch.float64)
    for step in range(steps):
        basis[:, step] = vector
        image = product(vector)
        diagonal = torch.linalg.vecdot(image, vector).double()
        # Once the Krylov space is used up, the diagonal gets its first entry again. It is a Rayleigh quotient of the
        # space, so that it is never above the largest Ritz value.
        tridiagonal[:, step, step] = diagonal if step == 0 else torch.where(alive, diagonal, tridiagonal[:, 0, 0])
        rest = _orthogonal(_orthogonal(image, basis[:, : step + 1]), basis[:, : step + 1])
        beyond = torch.linalg.vector_norm(rest, dim=1).double()
        scale = tridiagonal.abs().amax((1, 2))
        alive = alive & ~(beyond <= torch.finfo(start.dtype).eps * scale)
        beyond = torch.where(alive, beyond, 0)
        if step + 1 < steps:
            tridiagonal[:, step, step + 1] = tridiagonal[:, step + 1, step] = beyond
        vector = torch.where(alive[:, None], _unit(rest), 0)
    return _largest_ritz(tridiagonal, beyond)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True)


def _orthogonal(vectors: Tensor, basis: Tensor) -> Tensor:
    """Vectors [E, D] without their parts along orthonormal rows [E, k, D]."""
    along = torch.bmm(basis, vectors.unsqueeze(2))
    return torch.baddbmm(vectors.unsqueeze(2), basis.mT, along, alpha=-1).squeeze(2)


def _largest_ritz(tridiagonal: Tensor, beyond: Tensor) -> Largest:
    """The largest eigenvalue of [E, m, m], and its residual from the norm [E] of what the last product left over."""
    finite = torch.isfinite(tridiagonal).all(2).all(1) & torch.isfinite(beyond)
    values, vectors = torch.linalg.eigh(torch.where(finite[:, None, None], tridiagonal, 0))
    found = values[:, -1], beyond * vectors[:, -1, -1].abs()
    return Largest(*(torch.where(finite, one, torch.nan) for one in found))


class Trace(NamedTuple):
    """An estimate of a trace [E] in float64, and its standard error over the probes [E]."""

    value: Tensor
    std_error: Tensor


def trace(product: Product, probes: Tensor, members: int) -> Trace:
    """The trace by Hutchinson's estimator (1990): the mean of z'Az over vectors z with entries 1 and -1.

    Args:
        product: products of the matrices.
        probes: the vectors [R, D], R at least 2; all members share them.
        members: the number E of members.
    """
    forms = []
    for probe in probes:
        vectors = probe.expand(members, -1)
        forms.append((product(vectors) * vectors).sum(1, dtype=torch.float64))
    variance, mean = torch.var_mean(torch.stack(forms, 1), dim=1)
    return Trace(mean, (variance / len(probes)).sqrt())
