"""Stacked layers: those of torch.nn with a leading member axis on every parameter and every activation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grokplane.derivatives import transformed
from grokplane.models.init import Initialisation, initialisation


class _Affine(torch.autograd.Function):
    """baddbmm with the weight's gradient in the weight's own layout; autograd's is transposed and needs a copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return mapped(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (x, weight) = grad_outputs, ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            torch.bmm(gradient, weight) if of_x else None,
            torch.bmm(gradient.mT, x) if of_weight else None,
            gradient.sum(1) if of_bias else None,
        )


def mapped(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """E affine maps in plain operations; shapes as in `affine`."""
    return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)


def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """E affine maps: x [E, B, in], weight [E, out, in], bias [E, out] -> [E, B, out].

    For one map torch's own backward pass is faster, and its weight gradient already has the weight's layout.
    """
    if len(x) == 1:
        return F.linear(x.squeeze(0), weight.squeeze(0), None if bias is None else bias.squeeze(0)).unsqueeze(0)
    if transformed():
        return mapped(x, weight, bias)
    outputs: Any = _Affine.apply(x, weight, bias)
    return outputs


class _Pick(torch.autograd.Function):
    """Rows of a table. The backward pass sums them with index_add_, six times faster than the one of embedding."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.rows = len(table)
        return table.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (gradient,), (rows,) = grad_outputs, ctx.saved_tensors
        return gradient.new_zeros(ctx.rows, gradient.shape[-1]).index_add_(0, rows, gradient), None


def pick(table: Tensor, rows: Tensor) -> Tensor:
    """Rows [E, ...] of each member's own table [E, R, D], as [E, ..., D].

    Off the CPU index_add_ adds in an order that differs between runs; the backward pass of embedding does not.
    """
    first = torch.arange(len(table), device=rows.device) * table.shape[1]
    rows = rows + first.view(-1, *[1] * (rows.dim() - 1))
    if table.device.type != "cpu" or transformed():
        return F.embedding(rows, table.flatten(0, 1))
    picked: Any = _Pick.apply(table.flatten(0, 1), rows.flatten())
    return picked.view(*rows.shape, -1)


class Linear(nn.Module):
    """E affine maps: x [E, ..., in] -> [E, ..., out]; weight [E, out, in] as in torch.nn, bias [E, out] or None."""

    def __init__(self, members: int, fan_in: int, fan_out: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, fan_out, fan_in))
        self.bias = nn.Parameter(torch.empty(members, fan_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """The affine map of each member applied to its own batch."""
        return affine(x.flatten(1, -2), self.weight, self.bias).unflatten(1, x.shape[1:-1])

    def reset(self, member: int, init: str | Initialisation, generator: torch.Generator) -> None:
        """Draw one member's weight and bias."""
        bias = self.weight.new_empty(self.weight.shape[1]) if self.bias is None else self.bias[member]
        initialisation(init).linear(self.weight[member], bias, generator)


class Embedding(nn.Module):
    """E tables of vectors, weight [E, vocabulary, width]."""

    def __init__(self, members: int, vocabulary: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, vocabulary, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """The vectors [E, ..., width] of tokens [E, ...]."""
        return pick(self.weight, tokens)

    def reset(self, member: int, init: str | Initialisation, generator: torch.Generator) -> None:
        """Draw one member's table."""
        initialisation(init).embedding(self.weight[member], generator)


class LayerNorm(nn.Module):
    """E layer norms over the last axis: weight and bias [E, width]; Ba et al. 2016."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, width))
        self.bias = nn.Parameter(torch.empty(members, width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each vector of x [E, ..., width] to mean 0 and variance 1, then scale and shift it."""
        shape = (len(x), *[1] * (x.dim() - 2), -1)
        normal = F.layer_norm(x, x.shape[-1:])
        return torch.addcmul(self.bias.view(shape), normal, self.weight.view(shape))

    def reset(self, member: int, init: str, generator: torch.Generator) -> None:  # noqa: ARG002 (nothing is drawn)
        """Scale 1, shift 0."""
        nn.init.ones_(self.weight[member])
        nn.init.zeros_(self.bias[member])


@dataclass(frozen=True)
class Activation:
    """An activation function.

    Attributes:
        function: the function of a tensor.
        in_place: the same function, which overwrites its argument.
        slope: multiplies the gradient (first argument, overwritten) by the derivative, which it computes from the
            function's result (second argument); None if the result does not determine the derivative.
        exact_zeros: whether the function is exactly zero on a whole interval.
    """

    function: Callable[[Tensor], Tensor]
    in_place: Callable[[Tensor], Tensor] | None = None
    slope: Callable[[Tensor, Tensor], Tensor] | None = None
    exact_zeros: bool = False


_threshold: Any = torch.ops.aten.threshold_backward.grad_input
_tanh: Any = torch.ops.aten.tanh_backward.grad_input
_sigmoid: Any = torch.ops.aten.sigmoid_backward.grad_input
_leaky: Any = torch.ops.aten.leaky_relu_backward.grad_input
_LEAK = 0.01  # torch's default

# Names as in torch, which has no `square`: x^2, whose derivative its result does not determine.
ACTIVATIONS = {
    "ReLU": Activation(F.relu, torch.relu_, lambda g, y: _threshold(g, y, 0, grad_input=g), exact_zeros=True),
    "Tanh": Activation(torch.tanh, torch.tanh_, lambda g, y: _tanh(g, y, grad_input=g)),
    "Sigmoid": Activation(torch.sigmoid, torch.sigmoid_, lambda g, y: _sigmoid(g, y, grad_input=g)),
    "GELU": Activation(F.gelu),
    "LeakyReLU": Activation(F.leaky_relu, F.leaky_relu_, lambda g, y: _leaky(g, y, _LEAK, True, grad_input=g)),
    "square": Activation(torch.square),
}
