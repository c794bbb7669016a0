"""Several tasks as one: all tasks' questions below each other, in their common form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from grokplane.data.joint import Joint, joint
from grokplane.data.table import Examples, Table


def joined_table(tables: Mapping[str, Table], form: Joint) -> Table:
    """The questions of all tasks below each other, in the order of the mapping."""
    places = form.places
    operands = [table.operands for table in tables.values()]
    known = [one for one in operands if one is not None]
    alike = len(known) == len(operands) and len({one.shape[1] for one in known}) == 1
    fixed = [
        {place + places[name].left: int(places[name].kinds[token]) for place, token in table.fixed.items()}
        for name, table in tables.items()
    ]
    return Table(
        torch.cat([places[name].inputs(table.inputs) for name, table in tables.items()]),
        torch.cat([places[name].targets(table.targets) for name, table in tables.items()]),
        form.vocabulary,
        form.answers,
        fixed=dict(set.intersection(*(set(one.items()) for one in fixed))),
        mirrors=_mirrors(list(tables.values())),
        groups=_groups(tables),
        parts=tuple(tables),
        operands=torch.cat(known) if alike else None,
        symbols=form.symbols,
    )


def joined_examples(examples: Mapping[str, Examples]) -> Examples:
    """One member's data of all tasks as one: subsets, answers with label noise and groups.

    The groups of a task carry its name in front: `NAME.group`.

    Raises:
        ConfigError: see `joint`.
    """
    tables = {name: own.table for name, own in examples.items()}
    form = joint(tables)
    subsets = {name: own.subsets for name, own in examples.items()}
    names = dict.fromkeys(subset for own in subsets.values() for subset in own)
    none = torch.zeros(0, dtype=torch.int64)
    rows = {
        subset: torch.cat([form.places[name].start + own.get(subset, none) for name, own in subsets.items()])
        for subset in names
    }
    groups: dict[str, dict[str, Tensor]] = {}
    for task, own in examples.items():
        for subset, some in own.groups.items():
            for name, flags in some.items():
                parts = [flags if other == task else _nowhere(subsets[other].get(subset, none)) for other in examples]
                groups.setdefault(subset, {})[f"{task}.{name}"] = torch.cat(parts)
    return Examples(
        joined_table(tables, form),
        rows["train"],
        rows["test"],
        torch.cat([form.places[name].targets(own.train_targets) for name, own in examples.items()]),
        groups,
        rows.get("ood"),
    )


def _mirrors(tables: Sequence[Table]) -> Tensor | None:
    """Classes of mirrored questions, other numbers for each task; a question of a task without mirrors is alone."""
    if all(table.mirrors is None for table in tables):
        return None
    found: list[Tensor] = []
    start = 0
    for table in tables:
        own = torch.arange(len(table.targets)) if table.mirrors is None else table.mirrors - table.mirrors.min()
        found.append(own + start)
        start += int(own.max()) + 1
    return torch.cat(found)


def _groups(tables: Mapping[str, Table]) -> dict[str, Tensor]:
    """A group of each task, and the tasks' own groups as `NAME.group`."""
    found = {}
    for task, table in tables.items():
        everything = torch.ones(len(table.targets), dtype=torch.bool)
        for name, flags in {task: everything, **{f"{task}.{own}": of for own, of in table.groups.items()}}.items():
            parts = [flags if other == task else _nowhere(tables[other].targets) for other in tables]
            found[name] = torch.cat(parts)
    return found


def _nowhere(points: Tensor) -> Tensor:
    return torch.zeros(len(points), dtype=torch.bool)
