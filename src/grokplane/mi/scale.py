"""One scale for the samples of an estimator that asks how far x is beside y."""

from __future__ import annotations

import torch
from torch import Tensor

from grokplane.mi.base import samples
from grokplane.mi.degenerate import varies


def standardised(x: Tensor) -> Tensor:
    """Rows about their mean, divided by the root mean square of the columns' deviations.

    Information does not change when a side is multiplied by a number, but `KSG`, `Sliced`, `Mutinfo` and
    `WeightedKL(rescale=False)` do, for they compare distances in x with distances in y. A code or a layer that was put
    through this has the same scale whatever it was made with. All columns are divided by one number: rotations remain
    rotations, and a column in which little happens is not blown up to the size of the others. Constant columns do not
    count and become 0.

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
