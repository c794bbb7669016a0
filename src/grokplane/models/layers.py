"""Stacked layers: torch.nn's, with a leading member axis on every parameter and every activation."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grokplane.models.init import INITIALISATIONS


class _Affine(torch.autograd.Function):
    """baddbmm, with the weight's gradient in the weight's own layout: autograd's is the transpose, and costs a copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (x, weight) = grad_outputs, ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            torch.bmm(gradient, weight) if of_x else None,
            torch.bmm(gradient.mT, x) if of_weight else None,
            gradient.sum(1) if of_bias else None,
        )


def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """E affine maps: x [E, B, in], weight [E, out, in], bias [E, out] -> [E, B, out]."""
    mapped: Any = _Affine.apply(x, weight, bias)
    return mapped


class Linear(nn.Module):
    """E affine maps: x [E, B, in] -> [E, B, out], weight [E, out, in] as in torch.nn.Linear, bias [E, out]."""

    def __init__(self, members: int, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, fan_out, fan_in))
        self.bias = nn.Parameter(torch.empty(members, fan_out))

    def forward(self, x: Tensor) -> Tensor:
        """The affine map of each member's own batch."""
        return affine(x, self.weight, self.bias)

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
