"""Differences of points to their mean."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Centred(NamedTuple):
    """Points around their mean, in float64.

    Attributes:
        values: differences to the mean [E, n, F]; 0 for padding.
        mean: [E, 1, F].
    """

    values: Tensor
    mean: Tensor


def centred(values: Tensor, mask: Tensor) -> Centred:
    """Centre values [E, n, F] over the points of a mask [E, n].

    If the points of a member are equal up to round-off of the dtype of `values`, all their differences are exactly 0:
    otherwise ratios of differences would be ratios of round-off.
    """
    real, round_off = mask[..., None], 8 * torch.finfo(values.dtype).eps
    values = torch.where(real, values.double(), 0)
    mean = values.sum(1, keepdim=True) / real.sum(1, keepdim=True)
    differences = torch.where(real, values - mean, 0)
    spread, size = (torch.linalg.vector_norm(one.flatten(1), dim=1)[:, None, None] for one in (differences, values))
    return Centred(torch.where(spread <= round_off * size, 0, differences), mean)
