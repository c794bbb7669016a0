"""What every metric reads: one log point of a stack, activations computed once and shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from grokplane.metrics.subset import LayerOutput, Subset


@dataclass
class Observation:
    """One log point: what was measured at step `step`, before its update.

    Everything has a leading member axis E and lies on the training device. What is not there yet is computed when the
    first metric asks for it, once a log point. For a subset (`train` or `eval`, n points, padded) a metric may ask:

    - `outputs`, `losses`, `correct`, `targets`, `mask`: the forward pass of the log point;
    - `layers["layer 1"].activations`, `inner["layer 1 attention pattern"]`: activations by name;
    - `inputs`, `rows`: the questions, and their rows in the task's table;
    - `forward(parameters, inputs)`: outputs with other parameters or with perturbed inputs;
    - `loss(parameters)`: the loss as a function that can be differentiated twice.

    Of the whole log point: `parameters` by layer, `all_parameters` by full name, `gradients`, and `over_table`, which
    puts values of all points into the order of the table. All of this holds until the update that follows.

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
        questions: number of rows N of the largest member's table.
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
    questions: int = 0

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

    @cached_property
    def table_outputs(self) -> Tensor:
        """The outputs of every question in the order of the member's table [E, N, C], see `over_table`."""
        return self.over_table(lambda subset: subset.outputs)

    def over_table(self, values: Callable[[Subset], Tensor]) -> Tensor:
        """Values of every question in the order of the member's table, which is operand order: (0, 0), (0, 1), ...

        Args:
            values: gives values of a subset's points [E, n, ...], such as its outputs or a layer's activations.

        Returns:
            [E, N, ...]. Questions in neither subset, and rows beyond a smaller table, are NaN (zero for integers).
        """
        table: Tensor | None = None
        for subset in self.subsets.values():
            of_points = values(subset)
            if table is None:
                empty = torch.nan if of_points.is_floating_point() or of_points.is_complex() else 0
                table = of_points.new_full((len(of_points), self.questions + 1, *of_points.shape[2:]), empty)
            rows = subset.rows.masked_fill(~subset.mask, self.questions)  # padding goes into an extra row
            table[torch.arange(len(rows), device=rows.device)[:, None], rows] = of_points
        assert table is not None
        return table[:, : self.questions]
