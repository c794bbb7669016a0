"""The LSTM recurrence of E members as one autograd step, with the backward pass written out.

Autograd over single operations would keep a dozen tensors per step and compute the recurrent weight's gradient step by
step. Here each step keeps its gates, cell and tanh of the cell, and the weight's gradient is one product over all
steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from grokplane.derivatives import beyond_the_first, of_twin, transformed
from grokplane.models.layers import pick

# Members are processed together as long as one step's gates have at most this many entries (1 MB in float32). More
# would not fit a core's cache, and each of the dozen passes of a step would read it from memory.
CHUNK_ENTRIES = 2**18

_sigmoid_backward: Any = torch.ops.aten.sigmoid_backward
_tanh_backward: Any = torch.ops.aten.tanh_backward


class Workspace:
    """Memory that one update passes to the next: the kernel's zeroing of new pages costs as much as the arithmetic."""

    def __init__(self) -> None:
        self._free: list[Tensor] = []

    def take(self, like: Tensor, *shape: int) -> Tensor:
        """An uninitialised tensor of this shape, with the dtype and device of `like`."""
        for number, one in enumerate(self._free):
            if one.shape == shape and one.dtype == like.dtype and one.device == like.device:
                return self._free.pop(number)
        self._free.clear()
        return like.new_empty(shape)

    def give(self, tensors: tuple[Tensor, ...]) -> None:
        """Return tensors that will not be read again."""
        self._free.extend(tensors)


def recurrence(
    x: Tensor, matrix: Tensor, bias: Tensor, weight: Tensor, last: int | None, workspace: Workspace | None = None
) -> Tensor:
    """Hidden states [E, K, B, H] of one layer, from zero hidden and cell states: those of the last K steps.

    Gates in torch.nn.LSTM's order: i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of x matrix + bias + h weight^T;
    c <- f c + i g; h <- o tanh(c).

    Args:
        x: inputs [E, L, B, in], or indices of rows of the matrix [E, L, B] int64.
        matrix: [E, in, 4H], applied to the inputs.
        bias: [E, 4H].
        weight: [E, 4H, H], applied to the hidden state of the previous step.
        last: number K of the last steps; None: all steps.
        workspace: source of memory, which the backward pass returns; None: new memory.
    """
    kept = x.shape[1] if last is None else last
    if transformed():
        return _plain(kept, x, matrix, bias, weight)
    hidden: Any = _Recurrence.apply(x.contiguous(), matrix.contiguous(), bias, weight, kept, workspace)
    return hidden


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, matrix: Tensor, bias: Tensor, weight: Tensor, steps: int, workspace: Workspace | None
    ) -> Tensor:
        fresh = workspace or Workspace()
        gates = fresh.take(bias, *x.shape[:3], bias.shape[1])
        cells, squashed, hidden = (fresh.take(bias, *x.shape[:3], weight.shape[2]) for _ in range(3))
        for part in _chunks(gates):
            _inputs(x[part], matrix[part], bias[part], gates[part])
            _steps(weight[part], gates[part], cells[part], squashed[part], hidden[part])
        ctx.save_for_backward(x, matrix, bias, weight)
        ctx.kept, ctx.workspace, ctx.steps = (gates, cells, squashed, hidden), workspace, steps
        return hidden[:, -steps:].clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, matrix, bias, weight = ctx.saved_tensors
        # `kept` is None after an earlier backward pass, which has returned the memory.
        if ctx.kept is None or beyond_the_first(grad_outputs[0]):
            return *of_twin(partial(_plain, ctx.steps), (x, matrix, bias, weight), grad_outputs[0]), None, None
        gates, cells, squashed, hidden = ctx.kept
        of_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        of_matrix, of_weight = torch.empty_like(matrix), torch.empty_like(weight)
        of_bias = torch.empty_like(bias)
        for part in _chunks(gates):
            slopes = _slopes(grad_outputs[0][part], weight[part], gates[part], cells[part], squashed[part])
            rows = slopes.flatten(1, 2)
            torch.sum(rows, 1, out=of_bias[part])
            later, earlier = slopes[:, 1:].flatten(1, 2), hidden[part, :-1].flatten(1, 2)
            torch.bmm(later.mT, earlier, out=of_weight[part])
            _of_matrix(x[part], rows, of_matrix[part])
            if of_x is not None:
                torch.bmm(rows, matrix[part].mT, out=of_x[part].flatten(1, 2))
        if ctx.workspace is not None:
            ctx.workspace.give(ctx.kept)
            ctx.kept = None
        return of_x, of_matrix, of_bias, of_weight, None, None


def _plain(kept: int, x: Tensor, matrix: Tensor, bias: Tensor, weight: Tensor) -> Tensor:
    """The same step by step, in plain operations."""
    inputs = torch.matmul(x, matrix[:, None]) if x.is_floating_point() else pick(matrix, x)
    hidden, cell = [torch.zeros_like(inputs[:, 0, :, : weight.shape[2]])], 0.0
    for inputs_here in inputs.unbind(1):
        here = bias[:, None] + inputs_here + torch.bmm(hidden[-1], weight.mT)
        i, f, g, o = here.chunk(4, -1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden.append(o.sigmoid() * cell.tanh())
    return torch.stack(hidden[-kept:], 1)


def _chunks(gates: Tensor) -> Iterator[slice]:
    """Slices of members that are processed together; off the CPU all members."""
    members, entries = len(gates), gates[0, 0].numel()
    size = max(1, CHUNK_ENTRIES // max(1, entries)) if gates.device.type == "cpu" else members
    return (slice(start, start + size) for start in range(0, members, size))


def _inputs(x: Tensor, matrix: Tensor, bias: Tensor, gates: Tensor) -> None:
    """Fill the gates [E, L, B, 4H] with the contribution of the inputs."""
    flat = gates.flatten(1, 2)
    if x.is_floating_point():
        torch.baddbmm(bias[:, None], x.flatten(1, 2), matrix, out=flat)
    else:
        torch.index_select(matrix.flatten(0, 1), 0, _rows(x, matrix), out=flat.flatten(0, 1))
        flat.add_(bias[:, None])


def _of_matrix(x: Tensor, slopes: Tensor, out: Tensor) -> None:
    """The matrix's gradient [E, in, 4H] from the gradients of all gates [E, L * B, 4H]."""
    if x.is_floating_point():
        torch.bmm(x.flatten(1, 2).mT, slopes, out=out)
    else:
        out.zero_().flatten(0, 1).index_add_(0, _rows(x, out), slopes.flatten(0, 1))


def _rows(x: Tensor, matrix: Tensor) -> Tensor:
    """Row indices [E * L * B] into all members' matrices, concatenated along the rows."""
    first = torch.arange(len(x), device=x.device)[:, None, None] * matrix.shape[1]
    return (x + first).flatten()


def _steps(weight: Tensor, gates: Tensor, cells: Tensor, squashed: Tensor, hidden: Tensor) -> None:
    """Run the steps. The gates [E, L, B, 4H] hold the inputs' contribution, and are overwritten by their values."""
    for step in range(gates.shape[1]):
        here = gates[:, step]
        if step > 0:
            torch.baddbmm(here, hidden[:, step - 1], weight.mT, out=here)
        i, f, g, o = here.chunk(4, -1)
        for gate, function in ((i, torch.sigmoid_), (f, torch.sigmoid_), (g, torch.tanh_), (o, torch.sigmoid_)):
            function(gate)
        cell = torch.mul(i, g, out=cells[:, step])
        if step > 0:
            cell.addcmul_(f, cells[:, step - 1])
        torch.mul(o, torch.tanh(cell, out=squashed[:, step]), out=hidden[:, step])


def _slopes(of_hidden: Tensor, weight: Tensor, gates: Tensor, cells: Tensor, squashed: Tensor) -> Tensor:
    """Gradient of the gates before their functions, [E, L, B, 4H], from the gradient of the last K hidden states."""
    slopes = torch.empty_like(gates)
    last, first = gates.shape[1] - 1, gates.shape[1] - of_hidden.shape[1]
    of_cell = torch.zeros_like(cells[:, 0])
    for step in range(last, -1, -1):
        i, f, g, o = gates[:, step].chunk(4, -1)
        of_i, of_f, of_g, of_o = slopes[:, step].chunk(4, -1)
        if step == last:
            of_h = of_hidden[:, -1]
        elif step < first:
            of_h = torch.bmm(slopes[:, step + 1], weight)
        else:
            of_h = torch.baddbmm(of_hidden[:, step - first], slopes[:, step + 1], weight)
        of_cell.add_(_tanh_backward(of_h * o, squashed[:, step]))
        torch.mul(of_h, squashed[:, step], out=of_o)
        torch.mul(of_cell, g, out=of_i)
        torch.mul(of_cell, i, out=of_g)
        if step > 0:
            torch.mul(of_cell, cells[:, step - 1], out=of_f)
        else:
            of_f.zero_()  # the first step has no previous cell
        of_cell.mul_(f)
        for slope, gate in ((of_i, i), (of_f, f), (of_o, o)):
            _sigmoid_backward(slope, gate, grad_input=slope)
        _tanh_backward(of_g, g, grad_input=of_g)
    return slopes
