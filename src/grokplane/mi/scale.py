"""Normalisation of scales: for estimators that compare distances in x and y, and for codes and layers."""

from __future__ import annotations

import torch
from torch import Tensor

from grokplane.mi.base import Array, samples
from grokplane.mi.degenerate import varies


def at_one_scale(x: Tensor) -> Tensor:
    """Subtract the median of a side and divide by the median size of its rows; robust to outliers.

    The size of a row is the largest distance of an entry from its column's median, so that copied columns have no
    effect. If at least half of the rows equal the median, the median size is that of the other rows.

    Args:
        x: [..., N, d] float64; a constant side becomes 0.

    Returns:
        [..., N, d].
    """
    off = x - x.median(-2, keepdim=True).values
    far = off.abs().amax(-1, keepdim=True)
    size = far.median(-2, keepdim=True).values
    size = torch.where(size > 0, size, far.where(far > 0, torch.nan).nanmedian(-2, keepdim=True).values)
    return torch.where(size > 0, off / size, 0)


def standardised(x: Array) -> Tensor:
    """Centre rows and divide them by the root mean square of the columns' standard deviations.

    The information is invariant to the scale of a side, but estimators compare distances in x with distances in y. All
    columns are divided by one number, so rotations remain rotations and a column of small variance is not amplified.
    Constant columns do not count and become 0.

    Args:
        x: [N, d].

    Returns:
        [N, d] float64; the mean square of the columns that vary is 1.

    Raises:
        ValueError: if `samples` refuses the rows.
    """
    x = samples(x, least=1)
    kept = varies(x)
    if not bool(kept.any()):
        return torch.zeros_like(x)
    centred = torch.where(kept, x - x.mean(0), 0)
    centred = centred / centred.abs().amax()  # so that no square underflows
    return centred / centred[:, kept].square().mean().sqrt()
