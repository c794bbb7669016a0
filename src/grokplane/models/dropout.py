"""Dropout with a probability per member."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from grokplane.models.base import Noisy


class Dropout(Noisy):
    """In training, zero each entry of a member's values [E, ...] with its own probability and rescale the others.

    Srivastava et al. 2014, with the scaling of torch.nn.Dropout: remaining entries are divided by 1 - p.
    """

    strength = "dropout"

    def __init__(self) -> None:
        super().__init__()
        self._rates = torch.empty(0)

    def attach(self, name: str, seeds: Sequence[int], strengths: Sequence[float]) -> None:
        """See `Noisy`."""
        super().attach(name, seeds, strengths)
        self._rates = torch.tensor(self.strengths, dtype=torch.float64)

    @property
    def flows(self) -> bool:
        """See `Noisy`."""
        return super().flows and self.training

    def forward(self, x: Tensor) -> Tensor:
        """Apply this step's mask; the identity in evaluation."""
        if not self.flows:
            return x
        if self._rates.device != x.device:
            self._rates = self._rates.to(x.device)
        p = self._rates.view(-1, *[1] * (x.dim() - 1))
        kept = self.counters.uniform(self.step, x.shape[1:], x.device) >= p
        return x * (kept / (1 - p)).to(x.dtype)
