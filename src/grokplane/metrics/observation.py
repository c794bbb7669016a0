"""The input of every metric: one log point of a stack, with activations that are computed once and shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from grokplane.metrics.subset import LayerOutput, Subset
from grokplane.operand_group import OperandGroup


@dataclass
class Observation:
    """One log point: the state of a stack at step `step`, before the update.

    All tensors have a leading member axis E and are on the training device. Attributes that are not computed yet are
    computed on first access, once per log point. A subset (`train`, `eval` or `ood`, n points, padded) has:

    - `outputs`, `losses`, `correct`, `targets`, `mask`: the forward pass of the log point;
    - `layers["layer 1"].activations`, `inner["layer 1 attention pattern"]`: activations by name;
    - `inputs`, `rows`: the inputs, and their rows in the table of the task;
    - `forward(parameters, inputs)`: outputs with other parameters or with perturbed inputs;
    - `loss(parameters)`: the loss as a twice differentiable function.

    The log point has `parameters` by layer, `all_parameters` by full name, `gradients`, and `over_table`, which puts
    values of all points into the order of the table. All values are valid until the next update.

    Attributes:
        step: number of updates.
        train: the training subset.
        eval: the held-out subset.
        learning_rate: learning rate of each member in the next update [E].
        parameters: parameters [E, ...] by layer name and role ("weight", "bias" or another role).
        all_parameters: all parameters of the model [E, ...] by full name.
        compute_gradients: returns the gradient of `Loss/train` over the whole training subset, before any filter, in
            the form of `parameters`; called at most once.
        seconds_per_step: mean wall time of a step since the last log point; None at the first one.
        groups: groups of points by their name in metrics: the split (train, test or ood) and a mask [E, n] of its
            points in the group, including padding; all False for a member without the group.
        compute_noiseless: returns the layers of all subsets, by name, without the model's own noise; None if the model
            has no noise.
        questions: number of rows N of the largest table of the members.
        ood: the out-of-domain subset; None if the task has none.
        operands: operands of each question in the order of the members' tables [E, N, K] int64, -1 in rows beyond a
            smaller table; None if the task has none.
        operand_groups: for each member the group whose elements operands and answers are; None if there is none.
            A metric with `needs_group = True` finds operands and groups of all members.
        initial: the initial parameters [E, ...] by full name; empty unless a metric declares `needs_initial = True`.
        initial_layers: the same in the form of `parameters`.
        tracked: extremes over the updates since the last log point [E] by name; empty unless a metric declares
            `tracks = True`.
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
    ood: Subset | None = None
    operands: Tensor | None = None
    operand_groups: Sequence[OperandGroup | None] = ()
    initial: Mapping[str, Tensor] = field(default_factory=dict)
    initial_layers: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    tracked: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def gradients(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Gradients by layer and role, computed on first access."""
        return self.compute_gradients()

    def noiseless(self) -> Mapping[str, Mapping[str, LayerOutput]]:
        """Layers by subset, as in `subsets`, without the model's own noise; valid until the next update."""
        if self.compute_noiseless is None:
            return {name: subset.layers for name, subset in self.subsets.items()}
        return self.compute_noiseless()

    @property
    def subsets(self) -> dict[str, Subset]:
        """The subsets under the names of layer metrics: train, eval, ood."""
        return {"train": self.train, "eval": self.eval} | ({} if self.ood is None else {"ood": self.ood})

    @property
    def splits(self) -> dict[str, Subset]:
        """The subsets under the names of losses and accuracies: train, test, ood."""
        return {{"eval": "test"}.get(name, name): subset for name, subset in self.subsets.items()}

    @cached_property
    def scored(self) -> dict[str, Subset]:
        """`splits` and all groups, under the names of losses and accuracies."""
        splits = self.splits
        return splits | {name: splits[split].among(points) for name, (split, points) in self.groups.items()}

    @cached_property
    def table_outputs(self) -> Tensor:
        """Outputs of all questions in the order of the member's table [E, N, C]; see `over_table`."""
        return self.over_table(lambda subset: subset.outputs)

    def over_table(self, values: Callable[[Subset], Tensor]) -> Tensor:
        """Values of all questions in the order of the member's table, which is operand order: (0, 0), (0, 1), ...

        Args:
            values: returns values of the points of a subset [E, n, ...], such as its outputs or a layer's activations.

        Returns:
            [E, N, ...]. Questions in no subset, and rows beyond a smaller table, are NaN (zero for integers).
        """
        table: Tensor | None = None
        for subset in self.subsets.values():
            of_points = values(subset)
            if table is None:
                empty = torch.nan if of_points.is_floating_point() or of_points.is_complex() else 0
                table = of_points.new_full((len(of_points), self.questions + 1, *of_points.shape[2:]), empty)
            rows = subset.rows.masked_fill(~subset.mask, self.questions)  # padding is written to an extra row
            table[torch.arange(len(rows), device=rows.device)[:, None], rows] = of_points
        assert table is not None
        return table[:, : self.questions]
