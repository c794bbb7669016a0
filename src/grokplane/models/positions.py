"""Position encodings of a Transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from grokplane.models.layers import Embedding


class Learned(Embedding):
    """A learned vector for each position, weight [E, T, D]."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Embedded tokens [E, B, T, D] plus their positions."""
        return tokens + self.weight[:, None]


class Sinusoidal(nn.Module):
    """Sines and cosines of geometrically spaced frequencies (Vaswani et al. 2017, section 3.5)."""

    table: Tensor

    def __init__(self, members: int, length: int, width: int) -> None:  # noqa: ARG002 (one form for all)
        super().__init__()
        half = torch.arange((width + 1) // 2, dtype=torch.float64)
        angles = torch.arange(length, dtype=torch.float64)[:, None] / 10_000 ** (2 * half / width)
        table = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :width]
        self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Embedded tokens [E, B, T, D] plus their positions."""
        return x + self.table


class NoPositions(nn.Module):
    """No positions: without causal attention the network then sees a bag of tokens."""

    def __init__(self, members: int, length: int, width: int) -> None:  # noqa: ARG002 (one form for all)
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Embedded tokens, unchanged."""
        return x


POSITIONS = {"learned": Learned, "sinusoidal": Sinusoidal, "none": NoPositions}
