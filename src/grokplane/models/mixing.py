"""Whether a module's outputs for one point depend on the other points of the batch, so that padding would matter."""

from __future__ import annotations

import torch
from torch import Tensor

from grokplane.models.trials import TRIES, Make, close, drawn, made

FEW = 3  # points that are computed alone, and among the points of a trial


def mixes(make: Make, points: Tensor, training: bool) -> bool:
    """Whether additional points change the outputs of the other points, or in training a buffer.

    Determined by a trial on newly drawn points, with perturbed weights. A module that cannot process so few points
    counts as one that mixes.

    Args:
        make: builds the module from a generator and a dtype.
        points: some of the task's points [N, ...]; the trial's points have entries of these.
        training: whether the module is in training mode.
    """
    return any(_differ(make, drawn(points, number), training, number) for number in range(TRIES))


def _differ(make: Make, batch: Tensor, training: bool, number: int) -> bool:
    few, many = (made(make, number).train(training) for _ in range(2))
    try:
        with torch.no_grad():
            alone, among = few(batch[:FEW]), many(batch)[:FEW]
    except Exception:  # batch norm needs two points
        return True
    written = zip(few.buffers(), many.buffers(), strict=True) if training else ()  # changes in evaluation are discarded
    pairs = [(alone, among), *written]
    return not all(close(one, other) for one, other in pairs)
