"""A whole subset as metrics see it: outputs, losses and layers of all its points, and further forward passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from grokplane.answers import Answers, Classes, Labels
from grokplane.metrics.source import Parameters, Source

# Outputs of so many bytes are made, or turned into other numbers, at a time.
PART_BYTES = 2**27


@dataclass(frozen=True)
class LayerOutput:
    """One named layer's values on a subset, all [E, n, ..., F].

    Attributes:
        preactivations: before the activation function.
        activations: after it; the same tensor where the layer has none.
        exact_zeros: whether the activation function can return exactly zero on a whole interval (ReLU).
        noisy: the activations with the layer's noise; by default, and where there is no noise, the activations.
        sigma: standard deviation [E] of that noise; None where there is none.
    """

    preactivations: Tensor
    activations: Tensor
    exact_zeros: bool
    noisy: Tensor = None  # type: ignore[assignment]
    sigma: Tensor | None = None

    def __post_init__(self) -> None:
        if self.noisy is None:
            object.__setattr__(self, "noisy", self.activations)


@dataclass(frozen=True)
class Look:
    """Outputs and layers that are not kept, but made again for whoever asks: of subsets that are too large.

    Attributes:
        outputs: gives those of some points [E, b, ...].
        layers: gives all layers.
    """

    outputs: Callable[[slice], Tensor]
    layers: Callable[[], Mapping[str, LayerOutput]]


class Subset:
    """The whole training or held-out subset of every member, padded to the largest member's n.

    Args:
        outputs: the model's outputs [E, n, ...], or what makes them.
        targets: the answers [E, n, ...].
        losses: the training loss of each point [E, n], padding included (mask it).
        mask: which points are real [E, n], bool.
        layers: outputs of each named layer, "layer 1" first; not read if outputs are made.
        answers: the kind of the targets; None: class labels, one for each output.
        scores: see the property, where they are known already.
        source: its questions and its network; None: values alone, as in tests.

    Attributes:
        weights: weight of each point in a member's mean [E, n]: 1/count where real, 0 where padding.
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
    ) -> None:
        self._outputs, self._layers, self._source = outputs, layers, source
        self.targets, self.losses, self.mask = targets, losses, mask
        self.answers = answers or Labels(self.outputs.shape[-1])
        self._scores = scores
        real = mask.to(losses.dtype)
        self.weights = real / real.sum(1, keepdim=True)

    @cached_property
    def outputs(self) -> Tensor:
        """The model's outputs [E, n, ...]; `points` needs less memory."""
        if isinstance(self._outputs, Tensor):
            return self._outputs
        return torch.cat([outputs for _, outputs in self.parts()], 1)

    @cached_property
    def layers(self) -> Mapping[str, LayerOutput]:
        """Outputs of each named layer, "layer 1" first."""
        return self._layers if isinstance(self._outputs, Tensor) else self._outputs.layers()

    @cached_property
    def scores(self) -> Mapping[str, Tensor]:
        """Accuracy of each point [E, n] by metric name, padding included (mask it); see `Answers.scores`."""
        if self._scores is not None:
            return self._scores
        return joined([self.answers.scores(outputs, self.targets[:, part]) for part, outputs in self.parts()])

    @property
    def correct(self) -> Tensor:
        """Which points [E, n] are right, bool, padding included (mask it)."""
        return self.scores["Acc"]

    @cached_property
    def real_targets(self) -> Tensor:
        """The targets with 0 where the point is padding, whatever stands there: labels may be used as indices."""
        return self.targets.masked_fill(~self.mask.view(*self.mask.shape, *[1] * (self.targets.dim() - 2)), 0)

    @cached_property
    def classes(self) -> Classes:
        """The class of each point's answer [E, n].

        Raises:
            ValueError: the answers are numbers.
        """
        found = self.answers.as_classes(self.real_targets)
        if found is None:
            raise ValueError("answers that are numbers have no classes")
        return found

    def points(self, function: Callable[..., Tensor], *others: Tensor) -> Tensor:
        """What a function makes of every point's outputs [E, n], in bounded memory however many points there are.

        Args:
            function: of outputs [E, b, ...] and the others' part [E, b, ...]; gives [E, b].
            others: something of every point [E, n, ...], such as the targets.
        """
        return torch.cat([function(outputs, *(one[:, part] for one in others)) for part, outputs in self.parts()], 1)

    def parts(self) -> Iterator[tuple[slice, Tensor]]:
        """Some points after the other: which they are, and their outputs [E, b, ...]."""
        members, points = self.mask.shape
        for part in parts(points, members * prod(self.answers.shape) * self.losses.element_size()):
            made = self._outputs
            yield part, made[:, part] if isinstance(made, Tensor) else made.outputs(part)

    def among(self, mask: Tensor) -> Subset:
        """The same with those of its points alone that a mask [E, n] names."""
        shared = self._layers, self.answers, self.scores, self._source
        return Subset(self._outputs, self.targets, self.losses, self.mask & mask, *shared)

    @property
    def source(self) -> Source:
        """Its questions and its network; ValueError for a subset that was made from values alone."""
        if self._source is None:
            raise ValueError("this subset has no inputs and no network: it was made from values alone")
        return self._source

    @cached_property
    def inputs(self) -> Tensor:
        """The questions [E, n, ...]: tokens int64, or features; gathered when the first metric asks."""
        return self.source.inputs(slice(None))

    @property
    def rows(self) -> Tensor:
        """The row of each point in its member's table [E, n] int64, padding included; see `Observation.over_table`."""
        return self.source.rows

    @cached_property
    def inner(self) -> Mapping[str, Tensor]:
        """Tensors inside layers by name, [E, n, ...]: "layer 1 attention pattern" (docs/metrics.md).

        They take a forward pass of their own when the first metric asks; empty for models without such tensors.
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
        """Outputs [E, n, C] of a further forward pass, with other parameters or other inputs.

        The pass is that of the log point: evaluation mode, the same noise. It runs in parts where the subset is large.
        Its result is differentiable if a given tensor requires gradients, and inside `torch.func`.

        Args:
            parameters: by full name as in `Observation.all_parameters`, [E, ...]; those not given are the network's.
            inputs: in place of `inputs` [E, n, ...].
        """
        passes = (
            self.source.run(part, parameters or {}, None if inputs is None else inputs[:, part])
            for part in self.slices()
        )
        return torch.cat(list(passes), 1)

    def loss(self, parameters: Parameters, part: slice = slice(None)) -> Tensor:
        """The training loss [E] as a function of the parameters, differentiable twice.

        The members do not depend on each other: the gradient of `loss(p).sum()` holds every member's own gradient, and
        a product with its Hessian every member's own product.

        Args:
            parameters: by full name [E, ...]; those not given are the network's.
            part: the points whose share of the mean is returned. The shares of all `slices` add up to the loss, so
                their derivatives add up too, in bounded memory.
        """
        outputs = self.source.run(part, parameters)
        losses = self.source.losses(outputs, self.targets[:, part])
        return (torch.where(self.mask[:, part], losses, 0) * self.weights[:, part]).sum(1)

    def mean(self, values: Tensor) -> Tensor:
        """Each member's mean [E] over its real points of values [E, n]; padding is left out even if it is NaN."""
        return (torch.where(self.mask, values, 0) * self.weights).sum(1)


def joined(scores: Sequence[Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    """Scores of consecutive parts of the points as those of all points."""
    return {name: torch.cat([one[name] for one in scores], 1) for name in scores[0]}


def parts(points: int, point_bytes: int) -> Iterator[slice]:
    """Consecutive parts of so many points, none larger than PART_BYTES but for single points."""
    size = max(1, PART_BYTES // point_bytes)
    yield from (slice(start, min(start + size, points)) for start in range(0, points, size))
