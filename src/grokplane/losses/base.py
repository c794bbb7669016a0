"""What the loop and the metrics know of a loss."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Loss(Protocol):
    """A choice of the config group `loss`; one that is for class labels alone says so: `needs_labels = True`.

    One that reads the outputs as probabilities says which, `probabilities(outputs)`: [..., C] -> [..., C] in float64.
    """

    def __call__(self, outputs: Tensor, targets: Tensor, /) -> Tensor:
        """Loss of each point: outputs [E, B, C], labels [E, B] or numbers [E, B, C] -> [E, B]."""
        ...
