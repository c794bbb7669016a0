"""A whole subset for metrics: outputs, losses and layers of all its points, and further forward passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from grokplane.answers import Answers, Classes, Labels
from grokplane.metrics.layer_output import LayerOutput
from grokplane.metrics.source import Parameters, Source

# Outputs are computed and processed in parts of at most this size.
PART_BYTES = 2**27


@dataclass(frozen=True)
class Look:
    """Outputs and layers that are recomputed on request, for subsets that are too large to keep them.

    Attributes:
        outputs: returns the outputs of a part of the points [E, b, ...].
        layers: returns all layers.
    """

    outputs: Callable[[slice], Tensor]
    layers: Callable[[], Mapping[str, LayerOutput]]


class Subset:
    """A whole subset of every member, padded to the largest n of the members.

    Args:
        outputs: outputs of the model [E, n, ...], or a `Look` that recomputes them.
        targets: answers [E, n, ...].
        losses: training loss of each point [E, n], including padding (mask it).
        mask: points that are not padding [E, n], bool.
        layers: outputs of each named layer, "layer 1" first; ignored if outputs are recomputed.
        answers: kind of the targets; None: class labels, one per output.
        scores: values of the property `scores`, if they are known.
        source: inputs and network of the subset; None: only values, as in tests.
        true_targets: answers without label noise [E, n, ...]; None if `targets` are these.
        true_scores: values of the property `true_scores`, if they are known.

    Attributes:
        weights: weight of each point in a member's mean [E, n]: 1/count, or 0 for padding.
    """

    def __init__(
        self,
        outputs: Tensor | Look,
        targets: Tensor,
        losses: Tensor,
        mask: Tensor,
        layers: Mapping[str, LayerOutput],
        answers: Answers | None = None,
        scores: Mapping[str, Tensor] | None = None,
        source: Source | None = None,
        true_targets: Tensor | None = None,
        true_scores: Mapping[str, Tensor] | None = None,
    ) -> None:
        self._outputs, self._layers, self._source = outputs, layers, source
        self.targets, self.losses, self.mask = targets, losses, mask
        self.answers = answers or Labels(self.outputs.shape[-1])
        self.true_targets = true_targets
        self._scores, self._true_scores = scores, true_scores
        real = mask.to(losses.dtype)
        self.weights = real / real.sum(1, keepdim=True)

    @cached_property
    def outputs(self) -> Tensor:
        """Outputs of the model [E, n, ...]; `points` needs less memory."""
        if isinstance(self._outputs, Tensor):
            return self._outputs
        return torch.cat([outputs for _, outputs in self.parts()], 1)

    @cached_property
    def layers(self) -> Mapping[str, LayerOutput]:
        """Outputs of each named layer, "layer 1" first."""
        return self._layers if isinstance(self._outputs, Tensor) else self._outputs.layers()

    @cached_property
    def scores(self) -> Mapping[str, Tensor]:
        """Accuracy of each point [E, n] by metric name, including padding (mask it); see `Answers.scores`."""
        if self._scores is not None:
            return self._scores
        return joined([self.answers.scores(outputs, self.targets[:, part]) for part, outputs in self.parts()])

    @cached_property
    def true_scores(self) -> Mapping[str, Tensor]:
        """The same as `scores` against the answers without label noise."""
        right = self.true_targets
        if right is None:
            return self.scores
        if self._true_scores is not None:
            return self._true_scores
        return joined([self.answers.scores(outputs, right[:, part]) for part, outputs in self.parts()])

    @property
    def correct(self) -> Tensor:
        """Whether each point is correct [E, n], bool, including padding (mask it)."""
        return self.scores["Acc"]

    @cached_property
    def real_targets(self) -> Tensor:
        """Targets with 0 for padding, so that labels are valid indices."""
        return self.targets.masked_fill(~self.mask.view(*self.mask.shape, *[1] * (self.targets.dim() - 2)), 0)

    @cached_property
    def classes(self) -> Classes:
        """Class of the answer of each point [E, n].

        Raises:
            ValueError: if the answers are numbers.
        """
        found = self.answers.as_classes(self.real_targets)
        if found is None:
            raise ValueError("answers that are numbers have no classes")
        return found

    def points(self, function: Callable[..., Tensor], *others: Tensor) -> Tensor:
        """Apply a function to the outputs of all points in bounded memory; return one value per point [E, n].

        Args:
            function: maps outputs [E, b, ...] and the same part of `others` [E, b, ...] to [E, b].
            others: further tensors with one entry per point [E, n, ...], such as the targets.
        """
        return torch.cat([function(outputs, *(one[:, part] for one in others)) for part, outputs in self.parts()], 1)

    def parts(self) -> Iterator[tuple[slice, Tensor]]:
        """Iterate over parts of the points with their outputs [E, b, ...]."""
        members, points = self.mask.shape
        for part in parts(points, members * prod(self.answers.shape) * self.losses.element_size()):
            made = self._outputs
            yield part, made[:, part] if isinstance(made, Tensor) else made.outputs(part)

    def among(self, mask: Tensor) -> Subset:
        """The subset restricted to the points of a mask [E, n]."""
        shared = self._layers, self.answers, self.scores, self._source, self.true_targets, self.true_scores
        return Subset(self._outputs, self.targets, self.losses, self.mask & mask, *shared)

    @property
    def source(self) -> Source:
        """Inputs and network of the subset.

        Raises:
            ValueError: if the subset was made from values only.
        """
        if self._source is None:
            raise ValueError("this subset has no inputs and no network: it was made from values alone")
        return self._source

    @cached_property
    def inputs(self) -> Tensor:
        """Inputs [E, n, ...]: int64 tokens, or features; gathered on first access."""
        return self.source.inputs(slice(None))

    @property
    def rows(self) -> Tensor:
        """Row of each point in its member's table [E, n] int64, including padding; see `Observation.over_table`."""
        return self.source.rows

    @cached_property
    def inner(self) -> Mapping[str, Tensor]:
        """Tensors inside layers by name [E, n, ...], such as "layer 1 attention pattern" (docs/metrics.md).

        The first access runs a further forward pass. The dict is empty for models without such tensors.
        """
        found: list[dict[str, Tensor]] = []
        for part in self.slices():
            found.append({})
            self.source.run(part, {}, inner=found[-1])
        return {name: torch.cat([one[name] for one in found], 1) for name in found[0]}

    def slices(self) -> Sequence[slice]:
        """Parts of the subset, each small enough for a forward and a backward pass; one part if the subset is small."""
        return self.source.slices()

    def forward(self, parameters: Parameters | None = None, inputs: Tensor | None = None) -> Tensor:
        """Outputs [E, n, C] of a further forward pass with other parameters or other inputs.

        The pass uses evaluation mode and the noise of the log point. A large subset is processed in parts. The result
        is differentiable if a given tensor requires gradients, and inside `torch.func`.

        Args:
            parameters: parameters [E, ...] by full name as in `Observation.all_parameters`; missing ones are those of
                the network.
            inputs: inputs [E, n, ...] that replace those of the subset.
        """
        passes = (
            self.source.run(part, parameters or {}, None if inputs is None else inputs[:, part])
            for part in self.slices()
        )
        return torch.cat(list(passes), 1)

    def loss(self, parameters: Parameters, part: slice = slice(None)) -> Tensor:
        """Training loss [E] as a twice differentiable function of the parameters.

        Members are independent: the gradient of `loss(p).sum()` contains the gradient of every member, and a product
        with its Hessian contains the product of every member.

        Args:
            parameters: parameters [E, ...] by full name; missing ones are those of the network.
            part: points whose contribution to the mean is returned. The contributions of all `slices` add up to the
                loss, and so do their derivatives, in bounded memory.
        """
        outputs = self.source.run(part, parameters)
        losses = self.source.losses(outputs, self.targets[:, part])
        return (torch.where(self.mask[:, part], losses, 0) * self.weights[:, part]).sum(1)

    def mean(self, values: Tensor) -> Tensor:
        """Mean [E] of values [E, n] over the points of each member; padding is ignored even if it is NaN."""
        return (torch.where(self.mask, values, 0) * self.weights).sum(1)


def joined(scores: Sequence[Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    """Concatenate the scores of consecutive parts of the points."""
    return {name: torch.cat([one[name] for one in scores], 1) for name in scores[0]}


def parts(points: int, point_bytes: int) -> Iterator[slice]:
    """Consecutive slices of `points` points of at most PART_BYTES each, and of at least one point."""
    size = max(1, PART_BYTES // point_bytes)
    yield from (slice(start, min(start + size, points)) for start in range(0, points, size))
