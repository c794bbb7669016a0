"""Stacked layers: torch.nn's, with a leading member axis on every parameter and every activation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grokplane.models.init import INITIALISATIONS


class Linear(nn.Module):
    """E affine maps: x [E, B, in] -> [E, B, out], weight [E, out, in] as in torch.nn.Linear, bias [E, out]."""

    def __init__(self, members: int, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, fan_out, fan_in))
        self.bias = nn.Parameter(torch.empty(members, fan_out))

    def forward(self, x: Tensor) -> Tensor:
        """The affine map of each member's own batch."""
        return torch.baddbmm(self.bias[:, None], x, self.weight.mT)

    def reset(self, member: int, init: str, generator: torch.Generator) -> None:
        """Draw one member's weight and bias."""
        INITIALISATIONS[init].linear(self.weight[member], self.bias[member], generator)


class Embedding(nn.Module):
    """E tables of vectors, weight [E, vocabulary, width]."""

    def __init__(self, members: int, vocabulary: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, vocabulary, width))

    def reset(self, member: int, init: str, generator: torch.Generator) -> None:
        """Draw one member's table."""
        INITIALISATIONS[init].embedding(self.weight[member], generator)


# Activation functions by torch's names, and whether they are exactly zero on a whole interval.
ACTIVATIONS = {
    "ReLU": (F.relu, True),
    "Tanh": (torch.tanh, False),
    "Sigmoid": (torch.sigmoid, False),
    "GELU": (F.gelu, False),
    "LeakyReLU": (F.leaky_relu, False),
}
