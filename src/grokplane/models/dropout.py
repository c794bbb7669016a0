"""Dropout per member."""

from __future__ import annotations

import torch
from torch import Tensor

from grokplane.models.base import Noisy


class Dropout(Noisy):
    """In training, zeroes each entry of a member's values [E, ...] with its own probability and rescales the others.

    Srivastava et al. 2014, in torch.nn.Dropout's scaling: the survivors are divided by 1 - p.
    """

    strength = "dropout"

    def forward(self, x: Tensor) -> Tensor:
        """Values with this step's zeros; unchanged outside of training."""
        if not self.training or not any(self.strengths):
            return x
        p = torch.tensor(self.strengths, dtype=torch.float32).view(-1, *[1] * (x.dim() - 1)).to(x.device)
        kept = self.counters.uniform(self.step, x.shape[1:], x.device) >= p
        return x * (kept / (1 - p)).to(x.dtype)
