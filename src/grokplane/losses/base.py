"""The interface of losses for the training loop and the metrics."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Loss(Protocol):
    """A choice of the config group `loss`.

    A class variable `reads` says which targets the loss reads: "labels", "vectors" (numbers, or the one-hot codes of
    labels), or "classes" (labels, or signs as vectors of one number); without it the loss receives the targets of the
    task unchanged. A loss that interprets outputs as probabilities has a method `probabilities(outputs)`: [..., C] ->
    [..., C] in float64.
    """

    def __call__(self, outputs: Tensor, targets: Tensor, /) -> Tensor:
        """Loss of each point: outputs [E, B, C], labels [E, B] or vectors [E, B, C] -> [E, B]."""
        ...
