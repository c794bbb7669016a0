"""Treatment of samples without a density: constant and dependent columns, duplicate rows.

- Where the covariance is used, a column of X (or Y) that is constant or a linear combination of other columns is left
  out; the information is that of the remaining columns. A constant side has exactly 0 information.
- A row (x, y) that repeats an earlier one is left out: it is the same observation. Each entropy is taken over the
  distinct rows of its own sample, so that no distance is 0. A side with many equal rows (a dead layer) has no density,
  and its entropies can only be ranked. KSG does not need a density.
- If a linear combination of X equals one of Y, the information is infinite. Estimators that use entropies raise an
  error.
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
        The distinct rows [M, d] in order of first appearance, and for each row of x the index of its distinct row [N].
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
    """Mask [d] of the columns of x [N, d] that are not constant."""
    low, high = x.aminmax(dim=0)
    return high - low > CONSTANT * torch.maximum(low.abs(), high.abs())


def varying(x: Tensor) -> Tensor:
    """The columns of x [N, d] that are not constant, [N, v]."""
    return x[:, varies(x)]


def independent(x: Tensor, name: str = "x") -> Tensor:
    """Remove the columns of x that are constant or linear combinations of the columns kept.

    The difference of every row from a central row is scaled to length 1 before the rank is computed. This keeps all
    linear dependences, and an outlier cannot mask the other rows. The rank is that of a pivoted Cholesky
    decomposition.

    Args:
        x: [N, d] float64.
        name: the name used in error messages.

    Returns:
        The columns kept, in their order [N, r].

    Raises:
        ValueError: for fewer than r + 2 rows, which do not determine the rank.
    """
    x = varying(x)
    if x.shape[1] == 0:
        return x
    kept = _pivots(x)
    check_count(len(x), len(kept) + 2, f"{name} of rank {len(kept)}")
    return x[:, sorted(kept)]


def rank(x: Tensor) -> int:
    """Number of columns of x [N, d] that are neither constant nor linear combinations of others (`independent`)."""
    x = varying(x)
    return len(_pivots(x)) if x.shape[1] else 0


def _pivots(x: Tensor) -> list[int]:
    """Indices of the columns that span all columns of x [N, d], none of which is constant."""
    from scipy.linalg import get_lapack_funcs

    rows = _directions(x)
    gram = (rows.T @ rows).cpu().numpy()
    (cholesky,) = get_lapack_funcs(("pstrf",), (gram,))
    _, pivots, size, _ = cholesky(gram, tol=DEPENDENT * float(np.max(np.diag(gram))))
    return [int(column) - 1 for column in pivots[: int(size)]]


def _directions(x: Tensor) -> Tensor:
    """Differences of the rows from a central row, with columns on one scale and rows of length 1 (or 0)."""
    off = (x - x.median(0).values).abs()
    scale = off.where(off > 0, torch.nan).nanmedian(0).values
    centre = x[(off / scale).clamp_max(1e3).sum(1).argmin()]
    rows = (x - centre) / scale
    rows = rows / rows.abs().amax(1, keepdim=True).clamp_min(1e-300)
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-300)


def whiten(x: Tensor, like: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Whiten samples to unit covariance.

    Args:
        x: [N, d] of full rank (`independent`).
        like: samples [M, d] of full rank whose covariance is used instead of that of x.

    Returns:
        The whitened samples [N, d] and half the log determinant of the unbiased sample covariance of x, so that
        h(x) = h(whitened) + half the log determinant. The divisor (N - 1 or N) cancels in this sum.
    """
    source = x if like is None else like
    centred = source - source.mean(0)
    largest = centred.abs().amax(0)
    scale = (centred / largest).std(0) * largest  # the square of a number below 1e-154 is 0
    _, sizes, axes = torch.linalg.svd(torch.linalg.qr(centred / scale, mode="r").R)
    sizes = sizes.clamp_min(1e-15 * float(sizes[0])) / (len(source) - 1) ** 0.5
    log_det = scale.log().sum() + sizes.log().sum()
    return ((x - x.median(0).values) / scale) @ (axes.T / sizes), log_det
