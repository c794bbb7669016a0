"""A look at a stack: both subsets once through the network, and what the metrics make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from grokplane.data import StackedSubset
from grokplane.metrics import LayerOutput, Observation, Subset, collected
from grokplane.train.stack import Stack

Record = dict[str, Any]
Layers = Mapping[str, Mapping[str, Tensor]]


def observe(stack: Stack, seconds_per_step: float | None = None, step: int | None = None) -> Observation:
    """Activations, outputs and losses of every row's member on its whole subsets, before the update of a step.

    That is the stack's step, or one before at which a member was lost. It draws nothing from the streams of training
    (there is no dropout; noise at log points has numbers of its own, given by the step) and leaves parameters, their
    `.grad` and the optimizer as they are.
    """
    stack.network.eval()
    now = stack.step if step is None else step
    stack.at(now)
    train = _subset(stack, stack.examples.train)
    gradients = _gradients_of(stack, train)
    with torch.no_grad():
        held_out = _subset(stack, stack.examples.test)
    noiseless = partial(_noiseless, stack, {"train": train.layers, "eval": held_out.layers})
    stack.network.train()
    factor = stack.members[0].schedule(now, stack.members[0].train.steps)
    rates = torch.tensor(
        stack.optimizer.learning_rates([factor] * len(stack.rows)), dtype=torch.float64, device=stack.device
    )
    layers = {
        name: {role: value.detach() for role, value in roles.items()} for name, roles in stack.network.layers().items()
    }
    parameters = {name: value.detach() for name, value in stack.parameters.items()}
    unseen = stack.examples.unseen if any(stack.examples.mirrored) else None
    known = layers, parameters, gradients, seconds_per_step, unseen, noiseless
    return Observation(now, _detached(train), held_out, rates, *known)


def measure(stack: Stack, seen: Observation) -> list[Record]:
    """The values of all metrics, one flat record a row with its `step`, in one transfer from the device.

    Losses and accuracies are always among them.
    """
    with torch.no_grad():
        values = collected(stack.members[0].metrics, seen)
    rows = torch.stack([value.to(torch.float64) for value in values.values()], 1).tolist()
    return [{"step": seen.step} | _own(stack, number, values, row) for number, row in enumerate(rows)]


def _own(stack: Stack, number: int, names: Iterable[str], row: Sequence[float]) -> Record:
    """One member's values by name: as it would have them alone, so without `unseen` if its task has no mirrors."""
    mirrored = stack.examples.mirrored[number]
    return {name: value for name, value in zip(names, row, strict=True) if mirrored or not name.endswith("/unseen")}


def _subset(stack: Stack, subset: StackedSubset) -> Subset:
    layers: dict[str, LayerOutput] = {}

    def tap(
        name: str,
        logits: Tensor,
        activations: Tensor,
        exact_zeros: bool,
        noisy: Tensor | None = None,
        sigma: Tensor | None = None,
        /,
    ) -> None:
        before = logits.detach()
        after = before if activations is logits else activations.detach()
        seen = after if noisy is None or noisy is activations else noisy.detach()
        layers[name] = LayerOutput(before, after, exact_zeros, seen, sigma)

    stack.network.pad(subset.mask, training=False)
    outputs = stack.network(stack.network.encode(subset.inputs()), tap)
    stack.network.pad(None, training=False)
    losses = stack.members[0].loss(outputs, subset.targets)
    return Subset(outputs, subset.targets, losses, subset.mask, layers, stack.examples.tolerance)


def _noiseless(
    stack: Stack, layers: Mapping[str, Mapping[str, LayerOutput]]
) -> Mapping[str, Mapping[str, LayerOutput]]:
    """The layers, from another look without noise where it goes on through the network at log points."""
    stack.network.eval()
    try:
        if not stack.network.noise_flows:
            return layers
        subsets = {"train": stack.examples.train, "eval": stack.examples.test}
        with torch.no_grad(), stack.network.quiet():
            return {name: _subset(stack, subset).layers for name, subset in subsets.items()}
    finally:
        stack.network.train()


def _detached(subset: Subset) -> Subset:
    return replace(subset, outputs=subset.outputs.detach(), losses=subset.losses.detach())


def _gradients_of(stack: Stack, train: Subset) -> Callable[[], Layers]:
    layers = stack.network.layers()

    def gradients() -> Layers:
        with torch.enable_grad():
            total = train.mean(train.losses).sum()
        names = [(layer, role) for layer, roles in layers.items() for role in roles]
        parameters = [layers[layer][role] for layer, role in names]
        values = torch.autograd.grad(total, parameters, materialize_grads=True)  # the loss may not reach all
        found: dict[str, dict[str, Tensor]] = {layer: {} for layer in layers}
        for (layer, role), value in zip(names, values, strict=True):
            found[layer][role] = value
        return found

    return gradients
