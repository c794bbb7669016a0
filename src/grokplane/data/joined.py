"""Several tasks as one table: one vocabulary, questions of one length, all tasks' questions below each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import pad

from grokplane.answers import NOT_SCORED, Answers, Labels, LabelSequence
from grokplane.data.table import Examples, Table
from grokplane.options import ConfigError


@dataclass(frozen=True, eq=False)
class Place:
    """Where and how one task stands in the joint table.

    Attributes:
        start: first row of the task.
        kinds: joint number of each of the task's token kinds [V] int64.
        left: number of padding tokens before each question.
        right: number of padding tokens behind each question.
        padding: the padding token.
        unscored: number of positions that are not scored, before and behind the positions of the task's own answers;
            None for single labels.
    """

    start: int
    kinds: Tensor
    left: int
    right: int
    padding: int
    unscored: tuple[int, int] | None

    def inputs(self, tokens: Tensor) -> Tensor:
        """Questions of the task [..., L_k] in the joint tokens and length [..., L]."""
        return pad(self.kinds[tokens], (self.left, self.right), value=self.padding)

    def targets(self, labels: Tensor) -> Tensor:
        """Answers of the task [n, ...] in the joint tokens and positions [n] or [n, T]."""
        if self.unscored is None:
            return self.kinds[labels]
        scored = labels != NOT_SCORED
        tokens = torch.where(scored, self.kinds[labels.where(scored, 0)], NOT_SCORED)
        return pad(tokens, self.unscored, value=NOT_SCORED)


@dataclass(frozen=True, eq=False)
class Joint:
    """The common form of several tasks.

    Attributes:
        places: the place of each task.
        vocabulary: number of token kinds: operands, which the tasks share, each task's own symbols, and padding.
        symbols: number of the token kinds that are no operands.
        answers: the kind of the answers.
    """

    places: Mapping[str, Place]
    vocabulary: int
    symbols: int
    answers: Answers


def joint(tables: Mapping[str, Table]) -> Joint:
    """The common form of tables of tokens by task; questions of unequal length are padded.

    Single labels: padding stands before the question, so that the last token is the task's own. Sequences: behind it,
    so that every position stays where it is.

    Raises:
        ConfigError: continuous inputs, questions without a symbol, answers that are no tokens, or answers of
            different kinds.
    """
    for name, table in tables.items():
        _check(name, table)
    first = next(iter(tables.values())).answers
    for name, table in tables.items():
        if _kind(table.answers) != _kind(first):
            raise _refused(name, table.answers, f"the first task has {first}; all tasks need answers of one kind")
    operands = max(_vocabulary(table) - table.symbols for table in tables.values())
    starts = [operands, *accumulate((table.symbols for table in tables.values()), initial=operands)][1:]
    lengths = [table.inputs.shape[1] for table in tables.values()]
    length, padding, padded = max(lengths), starts[-1], len(set(lengths)) > 1
    vocabulary = padding + padded
    rows = [0, *accumulate(len(table.targets) for table in tables.values())]
    before = min(own - _positions(table.answers) for own, table in zip(lengths, tables.values(), strict=True))
    places = {}
    for (name, table), start, symbol in zip(tables.items(), rows, starts, strict=False):
        missing = length - table.inputs.shape[1]
        labels = isinstance(table.answers, Labels)
        front = table.inputs.shape[1] - _positions(table.answers) - before
        places[name] = Place(
            start,
            _kinds(table, symbol),
            missing if labels else 0,
            0 if labels else missing,
            padding,
            None if labels else (front, missing),
        )
    return Joint(places, vocabulary, vocabulary - operands, _answers(first, vocabulary, length - before))


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
    """The members' shares of all tasks as one: subsets, answers with label noise and groups.

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


def _check(name: str, table: Table) -> None:
    if table.vocabulary is None:
        raise _refused(name, "features", "has continuous inputs; a mixture needs tasks of tokens")
    symbols = table.inputs >= table.vocabulary - table.symbols
    if not bool(symbols.any(1).all()):
        why = "has questions without a symbol, so that the network cannot know the task; use layout=equals or equation"
        raise _refused(name, f"{table.symbols} symbols", why)
    if not isinstance(table.answers, Labels | LabelSequence) or table.answers.width > table.vocabulary:
        raise _refused(name, table.answers, "a mixture needs answers that are tokens of the questions")


def _refused(name: str, value: object, why: str) -> ConfigError:
    return ConfigError(f"data.tasks.{name}", value, why)


def _kind(answers: Answers) -> tuple[object, ...]:
    """What tasks must have in common; sequences that are not fed back also the number of positions."""
    if isinstance(answers, LabelSequence):
        return LabelSequence, answers.fed_back, None if answers.fed_back else answers.length
    return (type(answers),)


def _answers(first: Answers, vocabulary: int, positions: int) -> Answers:
    if isinstance(first, LabelSequence):
        return LabelSequence(vocabulary, positions, fed_back=first.fed_back)
    return Labels(vocabulary)


def _positions(answers: Answers) -> int:
    return answers.positions or 1


def _vocabulary(table: Table) -> int:
    assert table.vocabulary is not None
    return table.vocabulary


def _kinds(table: Table, symbol: int) -> Tensor:
    """Joint numbers [V] of the task's token kinds: operands keep theirs, symbols follow from `symbol` on."""
    operands = _vocabulary(table) - table.symbols
    return torch.cat([torch.arange(operands), symbol + torch.arange(table.symbols)])


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
