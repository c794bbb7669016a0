"""Affine maps of E members with an activation function between them, as one node of the autograd graph.

Layer by layer, each layer costs a module, an autograd function in Python and one in C++, and activations are copies.
That is 2 to 7% of a training step of the networks of benchmarks/step.py, and 15 to 18% for tiny networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from grokplane.derivatives import beyond_the_first, of_twin, transformed
from grokplane.models.layers import Activation, Linear, mapped


class _Perceptron(torch.autograd.Function):
    """Activations overwrite the values, and gradients of the values overwrite those of the activations."""

    @staticmethod
    def forward(ctx: Any, activation: Activation, activated: bool, x: Tensor, *parameters: Any) -> Tensor:
        weights, biases = parameters[::2], parameters[1::2]
        entering = [x if activated else activation.function(x)]
        values = mapped(entering[0], weights[0], biases[0])
        for weight, bias in zip(weights[1:], biases[1:], strict=True):
            entering.append(activation.in_place(values))  # type: ignore[misc]
            values = mapped(values, weight, bias)
        ctx.activation, ctx.activated = activation, activated
        ctx.save_for_backward(*entering, *parameters, *([] if activated else [x]))
        return values

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), saved = grad_outputs, ctx.saved_tensors
        layers = len(saved) // 3
        parameters = saved[layers : 3 * layers]
        if beyond_the_first(gradient):
            twin = partial(_plain, ctx.activation, ctx.activated)
            return None, None, *of_twin(twin, [saved[0 if ctx.activated else -1], *parameters], gradient)
        found: list[Tensor | None] = []
        for number in reversed(range(layers)):
            entering, (weight, bias) = saved[number], parameters[2 * number : 2 * number + 2]
            found += [None if bias is None else gradient.sum(1), torch.bmm(gradient.mT, entering)]
            if number == 0 and not ctx.needs_input_grad[2]:
                return None, None, None, *reversed(found)
            gradient = torch.bmm(gradient, weight)
            if number > 0 or not ctx.activated:
                ctx.activation.slope(gradient, entering)
        return None, None, gradient, *reversed(found)


def _plain(activation: Activation, activated: bool, x: Tensor, *parameters: Any) -> Tensor:
    """The same layer by layer, in plain operations."""
    values = x
    for number, (weight, bias) in enumerate(zip(parameters[::2], parameters[1::2], strict=True)):
        entering = values if number == 0 and activated else activation.function(values)
        values = mapped(entering, weight, bias)
    return values


def perceptron(x: Tensor, linears: Sequence[Linear], activation: Activation, activated: bool) -> Tensor:
    """Affine maps with an activation function between them; the same numbers as layer by layer.

    Args:
        x: input [E, B, in]: data, or the values of an earlier layer.
        linears: the maps, with or without biases.
        activation: a function with a `slope`.
        activated: whether x is used directly; otherwise the activation function is applied to it first.

    Returns:
        Outputs [E, B, out] of the last map, without activation function.
    """
    parameters: list[Any] = [parameter for linear in linears for parameter in (linear.weight, linear.bias)]
    if transformed():
        return _plain(activation, activated, x, *parameters)
    outputs: Any = _Perceptron.apply(activation, activated, x, *parameters)
    return outputs
