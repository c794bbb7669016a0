"""Lists that are sorted, reversed or copied: every row against Python's lists, draws, questions, refusals."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from grokplane.answers import LabelSequence
from grokplane.data import Copy, RandomSplit, Reverse, Sort, UnorderedSplit
from grokplane.options import ConfigError

SPLIT = RandomSplit()
TASKS = {"sort": (Sort, sorted), "reverse": (Reverse, lambda row: row[::-1]), "copy": (Copy, lambda row: row)}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(("length", "values"), [(1, 2), (3, 4), (4, 3)])
def test_every_row_is_that_of_pythons_lists(name: str, length: int, values: int) -> None:
    choice, twin = TASKS[name]
    table = choice(SPLIT, length=length, values=values).table(0)
    lists = [list(row) for row in itertools.product(range(values), repeat=length)]
    answers: list[list[int]] = [twin(row) for row in lists]
    assert table.inputs.tolist() == [[*row, values, *answer][:-1] for row, answer in zip(lists, answers, strict=True)]
    assert table.targets.tolist() == answers
    assert table.answers == LabelSequence(values + 1, length, fed_back=True)
    assert (table.vocabulary, table.symbols, table.fixed) == (values + 1, 1, {length: values})
    assert table.operands is not None
    assert table.operands.tolist() == lists


def test_lists_with_the_same_tokens_mirror_each_other_where_they_are_sorted() -> None:
    table = Sort(SPLIT, length=3, values=4).table(0)
    assert table.mirrors is not None
    pairs = set(zip(map(tuple, table.targets.tolist()), table.mirrors.tolist(), strict=True))
    assert len(pairs) == len({answer for answer, _ in pairs}) == len({number for _, number in pairs}) == 20
    examples = Sort(UnorderedSplit(), length=3, values=4).examples(0)
    train, test = (
        {tuple(row) for row in examples.table.targets[rows].tolist()} for rows in (examples.train, examples.test)
    )
    assert not train & test
    for choice in (Reverse, Copy):
        assert choice(SPLIT).table(0).mirrors is None
        with pytest.raises(ConfigError, match=r"^data/split=unordered: needs operands that can be swapped"):
            choice(UnorderedSplit()).examples(0)


@pytest.mark.parametrize("name", TASKS)
def test_draws_are_nested_and_large_lists_need_no_memory_of_their_own(name: str) -> None:
    choice, twin = TASKS[name]
    few, more, other = (
        choice(SPLIT, length=18, values=10, lists=lists).table(seed) for lists, seed in ((30, 0), (80, 0), (80, 1))
    )
    rows = [{tuple(row) for row in one.operands.tolist()} for one in (few, more, other) if one.operands is not None]
    assert [len(one) for one in rows] == [30, 80, 80]
    assert rows[0] < rows[1] != rows[2]
    assert more.operands is not None
    assert more.targets.tolist() == [twin(row) for row in more.operands.tolist()]


@pytest.mark.parametrize("name", TASKS)
def test_label_noise_is_in_the_inputs_too(name: str) -> None:
    examples = TASKS[name][0](SPLIT, length=3, values=4, label_noise=7).examples(2)
    inputs, targets = examples.table.inputs[examples.train], examples.train_targets
    assert torch.equal(inputs[:, 4:], targets[:, :-1])
    clean = examples.table.targets[examples.train]
    assert int((clean != targets).any(1).sum()) == 7
    assert clean.tolist() == [TASKS[name][1](row) for row in inputs[:, :3].tolist()]


@pytest.mark.parametrize("name", TASKS)
def test_questions_that_are_typed(name: str) -> None:
    task = TASKS[name][0](SPLIT, length=3, values=4)
    assert task.ask(["3", "0", " 2"]).tolist() == [3, 0, 2, 4]
    assert task.spell([3, 0, 4]) == "3,0,="
    for operands in (["3", "0"], ["3", "0", "4"], ["3", "0", "x"]):
        with pytest.raises(ConfigError, match=r"^question="):
            task.ask(operands)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"length": 0}, r"^data.length=0: must be at least 1"),
        ({"values": 1}, r"^data.values=1: must be at least 2"),
        ({"length": 19}, r"^data.length=19: must be at most 18 with 10 values$"),
        ({"lists": 10_001}, r"^data.lists=10001: must be at most 10000, the number of lists$"),
    ],
)
def test_what_cannot_be_had_is_refused(keys: dict[str, Any], message: str) -> None:
    for choice, _ in TASKS.values():
        with pytest.raises(ConfigError, match=message):
            choice(SPLIT, **keys).examples(0)
