"""What is done with samples that have no density: constant and copied columns, duplicate rows.

- A column that is constant or a linear combination of others is left out of X (or Y) where the covariance is used: the
  information is that of the rest. A side that is constant altogether carries exactly 0.
- A row (x, y) that repeats an earlier one is left out: it is the same observation drawn twice. Moreover each entropy
  is taken over the distinct rows of its own sample, so that no distance is 0; where one side has many equal rows (a
  dead layer) it has no density and entropies can only rank, not measure. KSG does not need one.
- A linear combination of X that equals one of Y means infinite information: an error where entropies are used.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from grokplane.mi.base import check_count

CONSTANT = 1e-13  # relative range of a constant column
DEPENDENT = 1e-13  # relative squared distance of a column from the span of others


def distinct(x: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows of x.

    Args:
        x: [N, d].

    Returns:
        The rows [M, d] in the order of their first appearance, and which of them each row of x is [N].
    """
    count = len(x)
    if x.shape[1] == 0:
        return x[:1], torch.zeros(count, dtype=torch.int64, device=x.device)
    if any(len(column.unique()) == count for column in x.T):
        return x, torch.arange(count, device=x.device)
    _, which = torch.unique(x, dim=0, return_inverse=True)
    groups = int(which.max()) + 1
    place = torch.arange(count, device=x.device)
    first = place.new_full((groups,), count).scatter_reduce(0, which, place, "amin")
    order = first.argsort()
    return x[first[order]], order.argsort()[which]


def varies(x: Tensor) -> Tensor:
    """Which columns of x [N, d] are not constant, [d] bool."""
    low, high = x.aminmax(dim=0)
    return high - low > CONSTANT * torch.maximum(low.abs(), high.abs())


def varying(x: Tensor) -> Tensor:
    """The columns of x [N, d] that are not constant, [N, v]."""
    return x[:, varies(x)]


def independent(x: Tensor, name: str = "x") -> Tensor:
    """The columns of x without those that are constant or linear combinations of the columns kept.

    Every row's difference from a central row is scaled to length 1 before the rank is taken: that keeps all linear
    dependences, and a row far out cannot hide the others. The rank is that of a pivoted Cholesky decomposition.

    Args:
        x: [N, d] float64.
        name: what error messages call it.

    Returns:
        [N, r], the columns kept in their order.

    Raises:
        ValueError: for fewer than r + 2 rows, which cannot show the rank.
    """
    x = varying(x)
    if x.shape[1] == 0:
        return x
    kept = _pivots(x)
    check_count(len(x), len(kept) + 2, f"{name} of rank {len(kept)}")
    return x[:, sorted(kept)]


def rank(x: Tensor) -> int:
    """How many columns of x [N, d] are neither constant nor linear combinations of others (`independent`)."""
    x = varying(x)
    return len(_pivots(x)) if x.shape[1] else 0


def _pivots(x: Tensor) -> list[int]:
    """Columns of x [N, d], none constant, that span all."""
    from scipy.linalg import get_lapack_funcs

    rows = _directions(x)
    gram = (rows.T @ rows).cpu().numpy()
    (cholesky,) = get_lapack_funcs(("pstrf",), (gram,))
    _, pivots, size, _ = cholesky(gram, tol=DEPENDENT * float(np.max(np.diag(gram))))
    return [int(column) - 1 for column in pivots[: int(size)]]


def _directions(x: Tensor) -> Tensor:
    """Rows relative to a central one, columns scaled alike, rows of length 1 (or 0)."""
    off = (x - x.median(0).values).abs()
    scale = off.where(off > 0, torch.nan).nanmedian(0).values
    centre = x[(off / scale).clamp_max(1e3).sum(1).argmin()]
    rows = (x - centre) / scale
    rows = rows / rows.abs().amax(1, keepdim=True).clamp_min(1e-300)
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-300)


def whiten(x: Tensor, like: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Samples with unit covariance, and what their entropy lacks.

    Args:
        x: [N, d] of full rank (`independent`).
        like: samples [M, d] of full rank whose covariance is used instead of x's own.

    Returns:
        Whitened samples [N, d] and half the logarithm of the determinant of their unbiased sample covariance,
        h(x) = h(whitened) + that. The divisor (N - 1 or N) cancels in the sum of both.
    """
    source = x if like is None else like
    centred = source - source.mean(0)
    largest = centred.abs().amax(0)
    scale = (centred / largest).std(0) * largest  # squares of numbers below 1e-154 are 0
    _, sizes, axes = torch.linalg.svd(torch.linalg.qr(centred / scale, mode="r").R)
    sizes = sizes.clamp_min(1e-15 * float(sizes[0])) / (len(source) - 1) ** 0.5
    log_det = scale.log().sum() + sizes.log().sum()
    return ((x - x.median(0).values) / scale) @ (axes.T / sizes), log_det
