"""What the loop and the metrics know of a loss."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Loss(Protocol):
    """A choice of the config group `loss`."""

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Loss of each point: outputs [E, B, C], labels [E, B] -> [E, B]."""
        ...
