"""The common form of several tasks: one vocabulary, each task with its own symbols, and questions of one length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import pad

from grokplane.answers import NOT_SCORED, Answers, Labels, LabelSequence
from grokplane.data.table import Table
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
    starts = list(accumulate((table.symbols for table in tables.values()), initial=operands))
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
