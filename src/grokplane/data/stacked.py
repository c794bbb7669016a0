"""The data of a stack on the device: once, padded to the largest member, read by index gathers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from grokplane.data.table import Examples


@dataclass(frozen=True, eq=False)
class StackedSubset:
    """The training or the held-out subset of every member, padded to the largest member's n.

    Attributes:
        values: the questions of all members' tables one below the other [R, ...]; R = N where all share one table.
        index: rows of each member's own table [E, n]; padding repeats the member's first point, so that it
            overflows only where a real point does.
        offset: where each member's table starts in `values` [E, 1].
        targets: labels [E, n] int64 or numbers [E, n, C], padded alike; in training with label noise.
        count: number of points of each member [E] int64.
    """

    values: Tensor
    index: Tensor
    offset: Tensor
    targets: Tensor
    count: Tensor

    @cached_property
    def mask(self) -> Tensor:
        """Which points are real [E, n], bool."""
        return torch.arange(self.index.shape[1], device=self.count.device) < self.count[:, None]

    @cached_property
    def _rows(self) -> Tensor:
        return self.index + self.offset

    def inputs(self) -> Tensor:
        """The whole subset [E, n, ...], gathered anew; an expanded view where all members have the same points."""
        if self._same_points:
            return _gather(self.values, self._rows[:1]).expand(len(self.index), *[-1] * self.values.ndim)
        return _gather(self.values, self._rows)

    def batch(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Questions [E, B, ...] and answers [E, B, ...] at positions [E, B], each below its member's count."""
        return _gather(self.values, self._rows.gather(1, positions)), _pick(self.targets, positions)

    @cached_property
    def _same_points(self) -> bool:
        return bool((self._rows == self._rows[:1]).all())


@dataclass(frozen=True, eq=False)
class StackedExamples:
    """What the members of a stack train on and are tested on.

    Attributes:
        inputs: all questions [E, N, ...], padded with zeros; an expanded view where all members share one table.
        train: the training subset; `test`: the held-out one.
        vocabulary: number of token kinds; None for continuous features.
        outputs: number of classes, or of regression outputs.
        tolerance: regression: squared error below which an answer counts as right; None: class labels.
        fixed: tokens by position that no question is without.
        population: see `Table`; of the first member's table.
    """

    inputs: Tensor
    train: StackedSubset
    test: StackedSubset
    vocabulary: int | None
    outputs: int
    tolerance: float | None
    fixed: Mapping[int, int]
    population: Callable[[], Tensor] | None = None


def stack(examples: Sequence[Examples], device: torch.device | str, dtype: torch.dtype) -> StackedExamples:
    """Move the data of E members to the device.

    Args:
        examples: one a member; their tables may differ in length.
        device: where the data will stay.
        dtype: of continuous features and regression targets; tokens and labels stay int64.

    Raises:
        ValueError: members whose tables differ in width, vocabulary, outputs or kind of answers.
    """
    _check_alike(examples)
    inputs = _stack_tables([one.table.inputs for one in examples], device, dtype)
    shared = inputs.stride(0) == 0 or len(examples) == 1
    values = inputs[0] if shared else inputs.flatten(0, 1)
    offset = torch.arange(len(examples), device=device)[:, None] * (0 if shared else inputs.shape[1])
    answers = [_typed(one.train_targets, dtype) for one in examples]
    held_out = [_typed(one.table.targets[one.test], dtype) for one in examples]
    train = _subset(values, offset, [one.train for one in examples], answers)
    test = _subset(values, offset, [one.test for one in examples], held_out)
    table = examples[0].table
    return StackedExamples(
        inputs, train, test, table.vocabulary, table.outputs, table.tolerance, table.fixed, table.population
    )


def _check_alike(examples: Sequence[Examples]) -> None:
    seen = {
        "inputs of one shape": [tuple(one.table.inputs.shape[1:]) for one in examples],
        "inputs of one dtype": [one.table.inputs.dtype for one in examples],
        "one vocabulary": [one.table.vocabulary for one in examples],
        "one number of outputs": [one.table.outputs for one in examples],
        "one tolerance": [one.table.tolerance for one in examples],
    }
    for what, values in seen.items():
        if len(set(values)) > 1:
            raise ValueError(f"members of a stack must have {what}, but have {', '.join(map(str, values))}")


def _stack_tables(tables: Sequence[Tensor], device: torch.device | str, dtype: torch.dtype) -> Tensor:
    """Tables of [N, ...] as one [E, N, ...] on the device; a view of one copy where all are equal."""
    if all(table is tables[0] or torch.equal(table, tables[0]) for table in tables):
        return _typed(tables[0], dtype).to(device).expand(len(tables), *tables[0].shape)
    return _typed(pad_sequence(list(tables), batch_first=True), dtype).to(device)


def _typed(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers in the stack's dtype; tokens and labels as int64."""
    return values.to(dtype if values.is_floating_point() else torch.int64)


def _subset(values: Tensor, offset: Tensor, rows: list[Tensor], targets: list[Tensor]) -> StackedSubset:
    device = values.device
    count = torch.tensor([len(one) for one in rows], device=device)
    return StackedSubset(values, _padded(rows).to(device), offset, _padded(targets).to(device), count)


def _padded(members: list[Tensor]) -> Tensor:
    """Members' [n_e, ...] as one [E, n, ...]; a shorter one repeats its first entry."""
    n = max(len(one) for one in members)
    return torch.stack([torch.cat([one, one[:1].expand(n - len(one), *one.shape[1:])]) for one in members])


def _gather(values: Tensor, rows: Tensor) -> Tensor:
    return values.index_select(0, rows.flatten()).unflatten(0, rows.shape)


def _pick(targets: Tensor, positions: Tensor) -> Tensor:
    """Each member's own targets [E, n, ...] at positions [E, B]: [E, B, ...]."""
    index = positions.view(*positions.shape, *[1] * (targets.ndim - 2)).expand(-1, -1, *targets.shape[2:])
    return targets.gather(1, index)
