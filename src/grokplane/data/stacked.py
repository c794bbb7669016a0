"""The data of a stack on the device: once, padded to the largest member, read by index gathers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from grokplane.answers import Answers
from grokplane.data.groups import StackedGroup, groups
from grokplane.data.table import Examples
from grokplane.operand_group import OperandGroup
from grokplane.options import ConfigError


@dataclass(frozen=True, eq=False)
class StackedSubset:
    """One of the subsets of every member, padded to the largest member's n.

    Attributes:
        values: questions [R, ...]: the table that all members share; else those of this subset alone, one member's
            below the other's, or once where all members have the same.
        index: each member's rows [E, n], from `offset` on; padding repeats the member's first point, so that it
            overflows only where a real point does.
        offset: where each member's questions start in `values` [E, 1].
        targets: answers [E, n, ...], padded alike; in training with label noise.
        count: number of points of each member [E] int64.
        rows: each point's row in its own member's table [E, n] int64, padded alike.
        true_targets: answers without label noise [E, n, ...], padded alike; None where `targets` are these.
    """

    values: Tensor
    index: Tensor
    offset: Tensor
    targets: Tensor
    count: Tensor
    rows: Tensor
    true_targets: Tensor | None = None

    @cached_property
    def mask(self) -> Tensor:
        """Which points are real [E, n], bool."""
        return torch.arange(self.index.shape[1], device=self.count.device) < self.count[:, None]

    @cached_property
    def _rows(self) -> Tensor:
        return self.index + self.offset

    def inputs(self, part: slice = slice(None)) -> Tensor:
        """The subset [E, n, ...], or those of its points, gathered anew.

        An expanded view where all members have the same points.
        """
        rows = self._rows[:, part]
        if self._same_points:
            return _gather(self.values, rows[:1]).expand(len(rows), *[-1] * self.values.ndim)
        return _gather(self.values, rows)

    def batch(self, positions: Tensor, buffer: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Questions [E, B, ...] and answers [E, B, ...] at positions [E, B], each below its member's count.

        Args:
            positions: in the members' subsets.
            buffer: where the questions are written, contiguous and of their shape; None: a tensor of their own.
        """
        rows = self._rows.gather(1, positions)
        if buffer is None:
            return _gather(self.values, rows), _pick(self.targets, positions)
        torch.index_select(self.values, 0, rows.flatten(), out=buffer.flatten(0, 1))
        return buffer, _pick(self.targets, positions)

    @cached_property
    def _same_points(self) -> bool:
        return bool((self._rows == self._rows[:1]).all())


@dataclass(frozen=True, eq=False)
class StackedExamples:
    """What the members of a stack train on and are tested on.

    Attributes:
        train: the training subset; `test`: the held-out one.
        ood: the out-of-domain subset; None: the task has none.
        shape: of a question: (L,) for tokens, (28, 28) for images.
        vocabulary: number of token kinds; None for continuous features.
        answers: the kind of the targets.
        fixed: tokens by position that no question is without.
        population: see `Table`; of the first member's table.
        groups: the groups that any member has, by the name that metrics carry.
        questions: number of rows of the largest member's table.
        parts: see `Table`; of the first member's table.
        noisy: whether each member has label noise.
        operands: operands of each member's table [E, N, K] int64, padded with -1; None: not all members have them.
        operand_groups: the group of each member's operands, see `Table.group`.
    """

    train: StackedSubset
    test: StackedSubset
    shape: torch.Size
    vocabulary: int | None
    answers: Answers
    fixed: Mapping[int, int]
    population: Callable[[], Tensor] | None
    groups: Mapping[str, StackedGroup]
    questions: int
    noisy: Sequence[bool]
    parts: Sequence[str] = ()
    ood: StackedSubset | None = None
    operands: Tensor | None = None
    operand_groups: Sequence[OperandGroup | None] = ()

    @property
    def subsets(self) -> dict[str, StackedSubset]:
        """The subsets by the names of layer metrics: train, eval, ood."""
        found = {"train": self.train, "eval": self.test}
        return found if self.ood is None else found | {"ood": self.ood}

    @property
    def points(self) -> int:
        """Number of points of a member in all subsets, padded."""
        return sum(subset.mask.shape[1] for subset in self.subsets.values())

    @property
    def held_out(self) -> list[str]:
        """Names of the subsets and groups of held-out questions that all members have."""
        shared = [name for name, group in self.groups.items() if group.subset != "train" and all(group.members)]
        return ["test", *([] if self.ood is None else ["ood"]), *shared]

    @property
    def nbytes(self) -> int:
        """What the questions take on the device."""
        kept = {one.values.data_ptr(): one.values for one in self.subsets.values()}
        return sum(values.nbytes for values in kept.values())


def stack(examples: Sequence[Examples], device: torch.device | str, dtype: torch.dtype) -> StackedExamples:
    """Move the data of E members to the device.

    Args:
        examples: one a member; their tables may differ in length.
        device: where the data will stay.
        dtype: of continuous features and regression targets; tokens and labels stay int64.

    Raises:
        ValueError: members whose tables differ in width, vocabulary or kind of answers.
        ConfigError: targets that are not of the kind of the answers, a subset without questions, or groups that
            cannot be used (see `groups`).
    """
    _check_alike(examples)
    tables = [_typed(one.table.inputs, dtype) for one in examples]
    common = tables[0].to(device) if _equal(tables) else None
    answers = [_typed(one.train_targets, dtype) for one in examples]
    held_out = [_typed(one.table.targets[one.test], dtype) for one in examples]
    right = [_typed(one.table.targets[one.train], dtype) for one in examples]
    noisy = [not torch.equal(*both) for both in zip(answers, right, strict=True)]
    train = _subset(tables, common, [one.train for one in examples], answers, device)
    if any(noisy):
        train = replace(train, true_targets=_padded(right).to(device))
    test = _subset(tables, common, [one.test for one in examples], held_out, device)
    ood = None
    if examples[0].ood is not None:
        rows = [own.subsets["ood"] for own in examples]
        far = [_typed(own.table.targets[some], dtype) for own, some in zip(examples, rows, strict=True)]
        ood = _subset(tables, common, rows, far, device)
    table = examples[0].table
    shape = table.inputs.shape[1:]
    return StackedExamples(
        train,
        test,
        shape,
        table.vocabulary,
        table.answers,
        table.fixed,
        table.population,
        _groups(examples, device),
        questions=max(map(len, tables)),
        parts=table.parts,
        ood=ood,
        noisy=noisy,
        operands=_operands(examples, device),
        operand_groups=[one.table.group for one in examples],
    )


def _operands(examples: Sequence[Examples], device: torch.device | str) -> Tensor | None:
    own = [one.table.operands for one in examples]
    known = [one for one in own if one is not None]
    if len(known) < len(own) or len({one.shape[1] for one in known}) > 1:
        return None
    found = known[0].new_full((len(known), max(map(len, known)), known[0].shape[1]), -1)
    for row, one in enumerate(known):
        found[row, : len(one)] = one
    return found.to(device)


def _check_alike(examples: Sequence[Examples]) -> None:
    seen = {
        "inputs of one shape": [tuple(one.table.inputs.shape[1:]) for one in examples],
        "inputs of one dtype": [one.table.inputs.dtype for one in examples],
        "one vocabulary": [one.table.vocabulary for one in examples],
        "answers of one kind": [one.table.answers for one in examples],
        "the same subsets": [tuple(one.subsets) for one in examples],
        "the same parts": [tuple(one.table.parts) for one in examples],
    }
    for what, values in seen.items():
        if len(set(values)) > 1:
            raise ValueError(f"members of a stack must have {what}, but have {', '.join(map(str, values))}")
    for one in examples:
        for targets in (one.table.targets, one.train_targets):
            if not one.table.answers.fit(targets):
                kind = f"targets {list(targets.shape)} of {targets.dtype}"
                raise ConfigError("data", kind, f"must be answers of the kind {one.table.answers}")
        empty = [name for name, rows in one.subsets.items() if len(rows) == 0]
        if empty:
            raise ConfigError("data", empty[0], "a subset needs at least one question")


def _groups(examples: Sequence[Examples], device: torch.device | str) -> dict[str, StackedGroup]:
    members = [groups(one) for one in examples]
    found = {}
    for name, subset in {name: group.subset for own in members for name, group in own.items()}.items():
        none = [torch.zeros(len(one.subsets[subset]), dtype=torch.bool) for one in examples]
        points = [own[name].points if name in own else missing for own, missing in zip(members, none, strict=True)]
        found[name] = StackedGroup(subset, _padded(points).to(device), [name in own for own in members])
    return found


def _equal(tensors: Sequence[Tensor]) -> bool:
    return all(one is tensors[0] or torch.equal(one, tensors[0]) for one in tensors)


def _typed(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers in the stack's dtype; tokens and labels as int64."""
    return values.to(dtype if values.is_floating_point() else torch.int64)


def _subset(
    tables: Sequence[Tensor],
    common: Tensor | None,
    rows: list[Tensor],
    targets: list[Tensor],
    device: torch.device | str,
) -> StackedSubset:
    values, starts = common, [0] * len(rows)
    index = of_table = _padded(rows).to(device)
    if values is None:
        own = [table[some] for table, some in zip(tables, rows, strict=True)]
        index = _padded([torch.arange(len(one)) for one in own]).to(device)
        if _equal(own):
            values = own[0].to(device)
        else:
            values, starts = torch.cat(own).to(device), [0, *accumulate(map(len, own[:-1]))]
    count = torch.tensor([len(one) for one in rows], device=device)
    offset = torch.tensor(starts, device=device)[:, None]
    return StackedSubset(values, index, offset, _padded(targets).to(device), count, of_table)


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
