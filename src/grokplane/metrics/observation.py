"""What every metric reads: one log point of a stack, activations computed once and shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from torch import Tensor

from grokplane.metrics.subset import LayerOutput, Subset


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
        groups: groups of points by the name that metrics carry: the split, "train" or "test", and which of its points
            belong to the group [E, n], bool, padding included; none of a member without the group.
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
    groups: Mapping[str, tuple[str, Tensor]] = field(default_factory=dict)
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

    @cached_property
    def scored(self) -> dict[str, Subset]:
        """`splits` and all groups, by the name that losses and accuracies carry."""
        splits = self.splits
        return splits | {name: splits[split].among(points) for name, (split, points) in self.groups.items()}


class Metric(Protocol):
    """A metric: a frozen dataclass whose call turns an observation into named values, one per member.

    Class variables say what it needs: `reads = "labels"`, answers that are class labels; `needs_gradients = True`,
    which are then had at less cost; `needs_layers = True`, so that a task is refused whose layers do not fit into
    memory.
    """

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Values by metric name, each [E]."""
        ...
