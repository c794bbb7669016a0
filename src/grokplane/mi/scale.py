"""One scale for the samples of an estimator that asks how far x is beside y, and for codes and layers."""

from __future__ import annotations

import torch
from torch import Tensor

from grokplane.mi.base import Array, samples
from grokplane.mi.degenerate import varies


def at_one_scale(x: Tensor) -> Tensor:
    """A side about its median, divided by the median size of its rows; a row far out does not change it.

    The size of a row is its largest distance from a column's median, so that copied columns do not count. Where half
    of the rows are the median, it is that of the others.

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
    """Rows about their mean, divided by the root mean square of the columns' deviations.

    Information does not change when a side is multiplied by a number, but distances in x beside those in y do. A code
    or a layer that was put through this has the same scale whatever it was made with. All columns are divided by one
    number: rotations remain rotations, and a column in which little happens is not blown up to the size of the others.
    Constant columns do not count and become 0.

    Args:
        x: [N, d].

    Returns:
        [N, d] float64; the squares of the columns that vary have the mean 1.

    Raises:
        ValueError: for rows that `samples` refuses.
    """
    x = samples(x, least=1)
    kept = varies(x)
    if not bool(kept.any()):
        return torch.zeros_like(x)
    centred = torch.where(kept, x - x.mean(0), 0)
    centred = centred / centred.abs().amax()  # so that no square underflows
    return centred / centred[:, kept].square().mean().sqrt()
