"""Tensors of members with groups of different orders, padded to one shape."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def stacked(tensors: Sequence[Tensor], fill: float, device: torch.device) -> Tensor:
    """Tensors of equal dimension, padded at the end of every axis to the largest: [E, ...]."""
    shape = [max(sizes) for sizes in zip(*(one.shape for one in tensors), strict=True)]
    found = tensors[0].new_full((len(tensors), *shape), fill)
    for row, one in enumerate(tensors):
        found[(row, *map(slice, one.shape))] = one
    return found.to(device)
