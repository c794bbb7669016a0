"""Forward passes over whole subsets: all points at once, or a large subset in parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.func import functional_call

from grokplane.data import StackedSubset
from grokplane.derivatives import transformed
from grokplane.metrics import LayerOutput, Look, Parameters, Source, Subset, joined, parts
from grokplane.models import InnerTap, Tap
from grokplane.train.memory import bound_together
from grokplane.train.stack import Stack

Layers = Mapping[str, Mapping[str, Tensor]]

# Outputs and layers of subsets up to this many bytes are kept from one pass for all metrics. The limit is a constant,
# not a share of the free memory, because parts have other round-off than the whole.
WHOLE_BYTES = 2**31


class Looks:
    """Forward passes over the subsets of a stack, with the network as it is before the update of a step.

    Args:
        stack: the stack whose network is used.
        step: the step that numbers the noise at log points.
    """

    def __init__(self, stack: Stack, step: int) -> None:
        self._stack, self._step = stack, step

    @cached_property
    def _large(self) -> bool:
        """Whether to evaluate in parts and keep no outputs; only if a point's outputs do not depend on other points."""
        return self._stack.examples.points * self._stack.point.both > WHOLE_BYTES and not bound_together(
            self._stack.network
        )

    def at(self, subset: StackedSubset, graph: bool = False) -> tuple[Subset, Tensor | None]:
        """A subset as metrics see it; with `graph`, unless it is too large, also its losses [E, n] with their graph."""
        if self._large:
            return self._in_parts(subset), None
        layers: dict[str, LayerOutput] = {}
        with torch.set_grad_enabled(graph):
            outputs = self._outputs(subset, slice(None), _tap(layers))
            losses = self._stack.loss(outputs, subset.targets)
        known = losses.detach(), subset.mask, layers, self._stack.examples.answers, None, self._source(subset)
        seen = Subset(outputs.detach(), subset.targets, *known, true_targets=subset.true_targets)
        return seen, losses if graph else None

    def _source(self, subset: StackedSubset) -> Source:
        """The subset's questions, and further forward passes."""
        run, slices = partial(self._run, subset), lambda: list(self._parts(subset))
        return Source(subset.inputs, subset.rows, run, self._stack.loss, slices)

    def _run(
        self,
        subset: StackedSubset,
        part: slice,
        parameters: Parameters,
        inputs: Tensor | None = None,
        inner: dict[str, Tensor] | None = None,
        layers: dict[str, LayerOutput] | None = None,
    ) -> Tensor:
        """See `grokplane.metrics.source.Run`."""
        tap = InnerTap(inner) if inner is not None else None if layers is None else _tap(layers)
        given = [*parameters.values(), *([] if inputs is None else [inputs])]
        with torch.set_grad_enabled(any(value.requires_grad for value in given)):
            return self._outputs(subset, part, tap, parameters, inputs)

    def gradients(self, train: Subset, losses: Tensor | None) -> Layers:
        """Gradients of every member's mean training loss, by layer and role.

        Args:
            train: the training subset, as `at` returned it.
            losses: its losses with their graph; None: compute them again.
        """
        subset, layers = self._stack.examples.train, self._stack.network.layers()
        names = [(layer, role) for layer, roles in layers.items() for role in roles]
        parameters = [layers[layer][role] for layer, role in names]
        totals = [torch.zeros_like(parameter) for parameter in parameters]
        for part in [slice(None)] if losses is not None else self._parts(subset):
            with torch.enable_grad():
                own = self._losses(subset, part) if losses is None else losses
                total = (torch.where(train.mask[:, part], own, 0) * train.weights[:, part]).sum()
            # The loss may not depend on all parameters.
            found = torch.autograd.grad(total, parameters, materialize_grads=True)
            totals = [one + more for one, more in zip(totals, found, strict=True)]
        by_layer: dict[str, dict[str, Tensor]] = {layer: {} for layer in layers}
        for (layer, role), value in zip(names, totals, strict=True):
            by_layer[layer][role] = value
        return by_layer

    def noiseless(self, kept: Mapping[str, Subset]) -> Mapping[str, Mapping[str, LayerOutput]]:
        """The layers of all subsets without the model's own noise; a second pass if noise enters later layers."""
        with self._looking():
            flows = self._stack.network.noise_flows
        if not flows:
            return {name: subset.layers for name, subset in kept.items()}
        with self._stack.network.quiet():
            return {name: self._layers(subset) for name, subset in self._stack.examples.subsets.items()}

    def _in_parts(self, subset: StackedSubset) -> Subset:
        """Losses and correct answers, without outputs and layers."""
        answers, losses, scores, true_scores = self._stack.examples.answers, [], [], []
        right = subset.true_targets
        for part in self._parts(subset):
            outputs, targets = self._made(subset, part), subset.targets[:, part]
            losses.append(self._stack.loss(outputs, targets))
            scores.append(answers.scores(outputs, targets))
            true_scores += [] if right is None else [answers.scores(outputs, right[:, part])]
        look = Look(partial(self._made, subset), partial(self._layers, subset))
        kept = torch.cat(losses, 1), subset.mask, {}, answers, joined(scores), self._source(subset)
        of_truth = None if right is None else joined(true_scores)
        return Subset(look, subset.targets, *kept, true_targets=right, true_scores=of_truth)

    @torch.no_grad()
    def _made(self, subset: StackedSubset, part: slice) -> Tensor:
        return self._outputs(subset, part)

    @torch.no_grad()
    def _layers(self, subset: StackedSubset) -> Mapping[str, LayerOutput]:
        """All layers, concatenated from the parts."""
        found: list[dict[str, LayerOutput]] = []
        for part in self._parts(subset):
            found.append({})
            self._outputs(subset, part, _tap(found[-1]))
        return {name: _joined([layers[name] for layers in found]) for name in found[0]}

    def _losses(self, subset: StackedSubset, part: slice) -> Tensor:
        return self._stack.loss(self._outputs(subset, part), subset.targets[:, part])

    def _parts(self, subset: StackedSubset) -> Iterator[slice]:
        points = subset.mask.shape[1]
        return parts(points, self._stack.point.both) if self._large else iter([slice(0, points)])

    def _outputs(
        self,
        subset: StackedSubset,
        part: slice,
        tap: Tap | None = None,
        parameters: Parameters | None = None,
        inputs: Tensor | None = None,
    ) -> Tensor:
        """Outputs of some points [E, b, ...], by default with their own inputs and the network's own parameters."""
        network = self._stack.network
        with self._looking():
            network.pad(subset.mask[:, part], training=False)
            encoded = network.encode(subset.inputs(part) if inputs is None else inputs)
            if parameters:
                own = {name: value.detach() for name, value in self._stack.parameters.items()}
                outputs = functional_call(network, own | dict(parameters), (encoded, tap))
            else:
                outputs = network(encoded, tap)
            network.pad(None, training=False)
        return outputs

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """A block in which the network is in the state that metrics see."""
        self._stack.network.eval()
        if not transformed():  # torch.func refuses writing to tensors from outside; the look itself has told the step
            self._stack.at(self._step)
        try:
            yield
        finally:
            self._stack.network.train()


def _tap(layers: dict[str, LayerOutput]) -> Tap:
    """A tap that stores the values it receives."""

    def tap(
        name: str,
        preactivations: Tensor,
        activations: Tensor,
        exact_zeros: bool,
        noisy: Tensor | None = None,
        sigma: Tensor | None = None,
        /,
    ) -> None:
        before = preactivations.detach()
        after = before if activations is preactivations else activations.detach()
        seen = after if noisy is None or noisy is activations else noisy.detach()
        layers[name] = LayerOutput(before, after, exact_zeros, seen, sigma)

    return tap


def _joined(of_parts: Sequence[LayerOutput]) -> LayerOutput:
    """A layer's values for all points. There is no noise: a network with noise is evaluated on all points at once."""
    preactivations = torch.cat([one.preactivations for one in of_parts], 1)
    same = of_parts[0].activations is of_parts[0].preactivations
    activations = preactivations if same else torch.cat([one.activations for one in of_parts], 1)
    return LayerOutput(preactivations, activations, of_parts[0].exact_zeros)
