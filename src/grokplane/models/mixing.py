"""Whether a module's outputs for one point depend on the other points of the batch, so that padding would matter."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from grokplane.random import generator

FEW, MANY = 3, 8  # sizes of a batch, and of the same batch with more points
TRIES = 3
TOLERANCE = 1e-6  # relative to the largest value: a module may compute in float32, with other round-off per batch size

Make = Callable[[torch.Generator, torch.dtype], nn.Module]


def mixes(make: Make, points: Tensor, training: bool) -> bool:
    """Whether additional points change the outputs of the other points, or in training a buffer.

    Determined by a trial on newly drawn points, with perturbed weights, because initial weights of zero could hide the
    dependence. A module that cannot process so few points counts as one that mixes.

    Args:
        make: builds the module from a generator and a dtype.
        points: some of the task's points [N, ...]; the trial's points have entries of these.
        training: whether the module is in training mode.
    """
    return any(_differ(make, _drawn(points, number), training, number) for number in range(TRIES))


def _differ(make: Make, batch: Tensor, training: bool, number: int) -> bool:
    few, many = (_moved(make(generator(0, "trial"), torch.float64), number).train(training) for _ in range(2))
    try:
        with torch.no_grad():
            alone, among = few(batch[:FEW]), many(batch)[:FEW]
    except Exception:  # batch norm needs two points
        return True
    written = zip(few.buffers(), many.buffers(), strict=True) if training else ()  # changes in evaluation are discarded
    pairs = [(alone, among), *written]
    return not all(_close(one.double(), other.double()) for one, other in pairs)


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    largest = one.abs().amax().item() if one.numel() else 0.0
    return torch.allclose(one, other, rtol=0, atol=TOLERANCE * largest, equal_nan=True)


def _drawn(points: Tensor, number: int) -> Tensor:
    """MANY points with entries that occur in these: tokens, or features with noise."""
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
