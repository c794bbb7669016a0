"""One step: forward pass, loss and backward pass, wrapped by the rules, then the optimizer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import _engine_run_backward

from grokplane.optim import Kept
from grokplane.train.stack import Stack


@dataclass(frozen=True)
class Batch:
    """The data of one update.

    Attributes:
        encoded: questions [E, B, ...].
        targets: answers [E, B, ...].
        real: 1 for points and 0 for padding [E, B]; None if there is no padding.
        count: number of real points [E].
    """

    encoded: Tensor
    targets: Tensor
    real: Tensor | None
    count: Tensor

    def mean(self, losses: Tensor) -> Tensor:
        """Each member's mean loss [E]."""
        return losses.mean(1) if self.real is None else (losses * self.real).sum(1) / self.count

    def shares(self, losses: Tensor) -> Tensor:
        """Weight of each point's loss [E, B] in the mean of its member: the gradient of `mean`."""
        if self.real is None:
            return torch.full_like(losses, 1 / losses.shape[1])
        return self.real.to(losses.dtype) / self.count[:, None]


def gather(stack: Stack, positions: Tensor) -> Batch:
    """The points at these positions [E, B] in the members' training subsets; on a CPU valid until the next call."""
    inputs, targets = stack.examples.train.batch(positions, stack.batch_buffer)
    return Batch(stack.network.encode(inputs), targets, None, stack.examples.train.count)


def whole(stack: Stack) -> Batch:
    """The full batch, encoded once; members with fewer points than others are padded."""
    subset = stack.examples.train
    real = None if bool(subset.mask.all()) else subset.mask.to(stack.dtype)
    return Batch(stack.network.encode(subset.inputs()), subset.targets, real, subset.count)


def update(stack: Stack, batch: Batch | None) -> None:
    """Update the members that are alive. A member whose loss is not finite dies and keeps its parameters."""
    assert batch is not None
    if stack.tracker is None:
        return _update(stack, batch)
    stack.tracker.before()
    _update(stack, batch)
    stack.tracker.after()


def _update(stack: Stack, batch: Batch) -> None:
    stack.at(stack.step)
    buffers = Kept([(value, stack.alive) for value in stack.buffers])
    means = _backward(stack, batch)
    if stack.device.type == "cpu" and math.isfinite(means.sum().item()) and bool(stack.alive.all()):
        _apply(stack)  # on a CPU the check needs no synchronisation, and masking would cost copies
        return
    stack.mark_diverged(~torch.isfinite(means))
    buffers.put_back()
    kept = stack.keep()
    _apply(stack)
    kept.put_back()


def update_all(stack: Stack, batch: Batch) -> None:
    """Update every member, dead or alive, after `stack.at(step)`; record members whose loss was not finite."""
    if stack.tracker is not None:
        stack.tracker.before()
    means = _backward(stack, batch)
    stack.mark_diverged(~torch.isfinite(means))
    _apply(stack)
    if stack.tracker is not None:
        stack.tracker.after()


def _backward(stack: Stack, batch: Batch) -> Tensor:
    """Set every parameter's gradient; return the members' mean losses [E]."""

    def backward() -> Tensor:
        for parameter in stack.parameters.values():
            parameter.grad = None
        outputs = stack.network(batch.encoded)
        losses = stack.loss(outputs, batch.targets)
        if stack.tracker is not None:
            correct = stack.examples.answers.scores(outputs.detach(), batch.targets)["Acc"]
            stack.tracker.batch(batch.mean(correct.to(losses.dtype)))
        _backpropagate(losses, batch.shares(losses))
        for parameter in stack.parameters.values():
            if parameter.grad is None:  # the loss does not depend on it, but weight decay applies
                parameter.grad = torch.zeros_like(parameter)
        return batch.mean(losses.detach())

    for rule in reversed(stack.rules.values()):  # the first rule of the list is the outermost: it acts first
        backward = rule.around(stack.step, backward)
    means = backward()
    if stack.tracker is not None:
        stack.tracker.losses(means)
    return means


def _backpropagate(losses: Tensor, shares: Tensor) -> None:
    """`losses.backward(shares)` without the comparison of shapes, for which torch imports sympy (0.3 s a process)."""
    _engine_run_backward((losses,), (shares,), False, False, (), allow_unreachable=True, accumulate_grad=True)


@torch.no_grad()
def _apply(stack: Stack) -> None:
    """Apply the gradients to the weights."""
    for rule in stack.rules.values():
        rule.before(stack.step, stack.factor)
    stack.optimizer.schedule(stack.factor)
    stack.optimizer.step()
    for rule in stack.rules.values():
        rule.after(stack.step)
