"""Whether a module's outputs of one point depend on the others of its batch: then padding would enter them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from grokplane.random import generator

FEW, MANY = 3, 8  # points of a batch, and of that batch with others behind it
TRIES = 3
TOLERANCE = 1e-6  # of the largest value: a module may work in float32 inside, and round otherwise in another batch

Make = Callable[[torch.Generator, torch.dtype], nn.Module]


def mixes(make: Make, points: Tensor, training: bool) -> bool:
    """Whether points that are added to a batch change the outputs of those before, or in training a buffer.

    Found by trying: on points drawn anew, with weights that are moved away from the initial ones, among which zeros
    could hide it. A module that cannot do with so few points counts as one that mixes.

    Args:
        make: builds the module from a generator and a dtype.
        points: some of the task's [N, ...], whose entries are drawn from.
        training: whether the module is in training.
    """
    return any(_differ(make, _drawn(points, number), training, number) for number in range(TRIES))


def _differ(make: Make, batch: Tensor, training: bool, number: int) -> bool:
    few, many = (_moved(make(generator(0, "trial"), torch.float64), number).train(training) for _ in range(2))
    try:
        with torch.no_grad():
            alone, among = few(batch[:FEW]), many(batch)[:FEW]
    except Exception:  # batch norm wants two points
        return True
    written = zip(few.buffers(), many.buffers(), strict=True) if training else ()  # what else is written is not kept
    pairs = [(alone, among), *written]
    return not all(_close(one.double(), other.double()) for one, other in pairs)


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    largest = one.abs().amax().item() if one.numel() else 0.0
    return torch.allclose(one, other, rtol=0, atol=TOLERANCE * largest, equal_nan=True)


def _drawn(points: Tensor, number: int) -> Tensor:
    """MANY points of entries that occur in these: tokens, or features with noise."""
    random = generator(number, "trial points")
    entries = points.flatten()
    drawn = entries[torch.randint(len(entries), (MANY, *points.shape[1:]), generator=random)]
    if not points.is_floating_point():
        return drawn
    return (drawn + torch.randn(drawn.shape, generator=random)).double()


def _moved(module: nn.Module, number: int) -> nn.Module:
    random = generator(number, "trial weights")
    with torch.no_grad():
        for value in module.parameters():
            if value.is_floating_point():
                value += 0.3 * torch.randn(value.shape, generator=random, dtype=torch.float64).to(value)
    return module
