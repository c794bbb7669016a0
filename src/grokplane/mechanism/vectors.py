"""Parameters of a stack as one vector a member."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

import torch
from torch import Tensor


def joined_vector(tensors: Iterable[Tensor]) -> Tensor:
    """Tensors [E, ...] as one vector a member [E, D]."""
    return torch.cat([tensor.reshape(len(tensor), -1) for tensor in tensors], 1)


def split_vector(vector: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `joined_vector`: vectors [E, D] as tensors of the names and shapes of `like`."""
    parts = vector.split([prod(tensor.shape[1:]) for tensor in like.values()], 1)
    return {name: part.view_as(tensor) for (name, tensor), part in zip(like.items(), parts, strict=True)}
