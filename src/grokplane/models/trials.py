"""Points, weights and a comparison for trials of a user's module."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from grokplane.random import generator

MANY = 8  # points of a trial
TRIES = 3
TOLERANCE = 1e-6  # relative to the largest value: a module may compute in float32, with other round-off per batch size

Make = Callable[[torch.Generator, torch.dtype], nn.Module]


def made(make: Make, number: int) -> nn.Module:
    """The module in float64 with perturbed weights, because initial weights of zero could hide a dependence."""
    module = make(generator(0, "trial"), torch.float64)
    random = generator(number, "trial weights")
    with torch.no_grad():
        for value in module.parameters():
            if value.is_floating_point():
                value += 0.3 * torch.randn(value.shape, generator=random, dtype=torch.float64).to(value)
    return module


def drawn(points: Tensor, number: int) -> Tensor:
    """MANY points with entries that occur in these [N, ...]: tokens, or features with noise."""
    random = generator(number, "trial points")
    entries = points.flatten()
    found = entries[torch.randint(len(entries), (MANY, *points.shape[1:]), generator=random)]
    if not points.is_floating_point():
        return found
    return (found + torch.randn(found.shape, generator=random)).double()


def close(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal up to round-off."""
    if one.shape != other.shape:
        return False
    one, other = one.double(), other.double()
    largest = one.abs().amax().item() if one.numel() else 0.0
    return torch.allclose(one, other, rtol=0, atol=TOLERANCE * largest, equal_nan=True)
