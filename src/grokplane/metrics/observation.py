"""What every metric reads: one log point of a stack, activations computed once and shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class LayerOutput:
    """One named layer's values on a subset, all [E, n, ..., F].

    Attributes:
        logits: before the activation function.
        activations: after it; the same tensor where the layer has none.
        exact_zeros: whether the activation function can return exactly zero on a whole interval (ReLU).
        noisy: the activations with the layer's noise; by default, and where there is no noise, the activations.
        sigma: standard deviation [E] of that noise; None where there is none.
    """

    logits: Tensor
    activations: Tensor
    exact_zeros: bool
    noisy: Tensor = None  # type: ignore[assignment]
    sigma: Tensor | None = None

    def __post_init__(self) -> None:
        if self.noisy is None:
            object.__setattr__(self, "noisy", self.activations)


@dataclass(frozen=True)
class Subset:
    """The whole training or held-out subset of every member, padded to the largest member's n.

    Attributes:
        outputs: the model's outputs [E, n, C].
        targets: class labels [E, n], or for regression numbers [E, n, C].
        losses: the training loss of each point [E, n], padding included (mask it).
        mask: which points are real [E, n], bool.
        layers: outputs of each named layer, "layer 1" first.
        tolerance: regression: squared error (mean over outputs) below which a point is right; None: class labels.
    """

    outputs: Tensor
    targets: Tensor
    losses: Tensor
    mask: Tensor
    layers: Mapping[str, LayerOutput]
    tolerance: float | None = None

    @cached_property
    def correct(self) -> Tensor:
        """Which points [E, n] are right, bool, padding included (mask it).

        Of equal outputs the first is the predicted class. A NaN among the outputs is no answer, though torch calls it
        the largest.
        """
        if self.tolerance is not None:
            return (self.outputs - self.targets).square().mean(-1) < self.tolerance
        largest, predicted = self.outputs.max(-1)
        return (predicted == self.targets) & ~largest.isnan()

    @cached_property
    def weights(self) -> Tensor:
        """Weight of each point in a member's mean [E, n]: 1/count where real, 0 where padding."""
        mask = self.mask.to(self.losses.dtype)
        return mask / mask.sum(1, keepdim=True)

    def mean(self, values: Tensor) -> Tensor:
        """Each member's mean [E] over its real points of values [E, n]; padding is left out even if it is NaN."""
        return (torch.where(self.mask, values, 0) * self.weights).sum(1)


@dataclass
class Observation:
    """One log point: what was measured at step `step`, before its update.

    Attributes:
        step: number of updates done.
        train: the training subset; `eval`: the held-out one.
        learning_rate: each member's rate in the update that follows [E].
        parameters: by layer name, then "weight" or "bias" (or another role): [E, ...].
        all_parameters: every parameter of the model by its full name, [E, ...].
        compute_gradients: gives the gradient of `Loss/train` over the whole training subset, before any
            filter, in the same form as `parameters`; called at most once.
        seconds_per_step: wall time of a step since the last log point; None at the first one.
        unseen: which held-out points are questions without a mirror in training [E, n], bool, padding included; none of
            a member whose task has no mirrored questions. None: no member's has.
        compute_noiseless: gives the layers of both subsets, by name, as they are without the model's own noise; None:
            there is no such noise.
    """

    step: int
    train: Subset
    eval: Subset
    learning_rate: Tensor
    parameters: Mapping[str, Mapping[str, Tensor]]
    all_parameters: Mapping[str, Tensor]
    compute_gradients: Callable[[], Mapping[str, Mapping[str, Tensor]]]
    seconds_per_step: float | None = None
    unseen: Tensor | None = None
    compute_noiseless: Callable[[], Mapping[str, Mapping[str, LayerOutput]]] | None = None

    @cached_property
    def gradients(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Gradients by layer and role, computed when the first metric asks."""
        return self.compute_gradients()

    def noiseless(self) -> Mapping[str, Mapping[str, LayerOutput]]:
        """Layers by subset, as in `subsets`, without noise of the model's own; before the coming update alone."""
        if self.compute_noiseless is None:
            return {name: subset.layers for name, subset in self.subsets.items()}
        return self.compute_noiseless()

    @property
    def subsets(self) -> dict[str, Subset]:
        """The two subsets under the names that layer metrics carry: train, eval."""
        return {"train": self.train, "eval": self.eval}

    @property
    def splits(self) -> dict[str, Subset]:
        """The two subsets under the names that losses and accuracies carry: train, test."""
        return {"train": self.train, "test": self.eval}

    @property
    def scored(self) -> dict[str, Subset]:
        """`splits`, and where there are mirrored questions `unseen`: the held-out ones without a mirror in training."""
        if self.unseen is None:
            return self.splits
        return self.splits | {"unseen": replace(self.eval, mask=self.eval.mask & self.unseen)}


class Metric(Protocol):
    """A metric: a frozen dataclass whose call turns an observation into named values, one per member.

    One that is for class labels alone says so: `needs_labels: ClassVar[bool] = True`.
    """

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Values by metric name, each [E]."""
        ...
