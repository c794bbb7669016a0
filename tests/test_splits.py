"""Splits by the size of operands and by the answers, against plain loops."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from command import QUIET, TINY, Inside, ended_well, refusal, rows

from grokplane.answers import LabelSequence, Numbers
from grokplane.data import BalancedSplit, CurriculumSplit, Modular, Parity, Permutations, Sums, Table
from grokplane.data.balanced import shares
from grokplane.data.split_task import SplitTask
from grokplane.options import ConfigError

SMALL, EQUAL = CurriculumSplit(), BalancedSplit()
FRACTIONS = (0.07, 0.3, 0.5, 0.77, 0.93)
BY_SIZE: dict[str, SplitTask] = {
    "add": Modular(SMALL, p=11),
    "symbols": Modular(SMALL, p=11, layout="equation"),
    "div": Modular(SMALL, p=11, operation="div"),
    "permutations": Permutations(SMALL),
    "sums": Sums(SMALL, p=5, operands=4),
    "some residues": Sums(SMALL, p=31, operands=3, residues=6, equations=150),
}
BY_ANSWER: dict[str, SplitTask] = {
    "equally frequent": Modular(EQUAL, p=11),
    "layout": Modular(EQUAL, p=11, layout="equals"),
    "mul": Modular(EQUAL, p=11, operation="mul"),
    "some equations": Sums(EQUAL, p=7, equations=200),
    "features": Parity(EQUAL, bits=12, points=301),
}


@pytest.mark.parametrize("name", BY_SIZE)
@pytest.mark.parametrize("fraction", FRACTIONS)
def test_curriculum_trains_on_the_smallest_operands(name: str, fraction: float) -> None:
    one = replace(BY_SIZE[name], train_fraction=fraction).examples(0)
    assert one.table.operands is not None
    operands = one.table.operands.tolist()
    by_size = sorted(range(len(operands)), key=lambda row: (max(operands[row]), sum(operands[row]), row))
    count = int(Fraction(str(fraction)) * len(operands))
    assert one.train.tolist() == by_size[:count]
    assert one.test.tolist() == by_size[count:]


def test_curriculum_holds_out_whole_sizes_where_the_fraction_ends_at_one() -> None:
    """Of 100 pairs of the residues 0 to 9, 49 have no operand above 6."""
    one = Modular(SMALL, p=10, train_fraction=0.49).examples(0)
    assert {max(pair) for pair in one.table.inputs[one.train].tolist()} == set(range(7))
    assert {max(pair) for pair in one.table.inputs[one.test].tolist()} == {7, 8, 9}


@pytest.mark.parametrize("name", BY_ANSWER)
@pytest.mark.parametrize("fraction", FRACTIONS)
def test_balanced_trains_on_the_same_share_of_every_answer(name: str, fraction: float) -> None:
    for seed in range(3):
        one = replace(BY_ANSWER[name], train_fraction=fraction).examples(seed)
        answers = one.table.targets.tolist()
        assert sorted([*one.train.tolist(), *one.test.tolist()]) == list(range(len(answers)))
        assert len(one.train) == int(Fraction(str(fraction)) * len(answers))
        exact = {answer: Fraction(len(one.train) * size, len(answers)) for answer, size in Counter(answers).items()}
        wanted = {answer: math.floor(share) for answer, share in exact.items()}
        largest = sorted(exact, key=lambda answer: (wanted[answer] - exact[answer], answer))
        for answer in largest[: len(one.train) - sum(wanted.values())]:
            wanted[answer] += 1
        assert Counter(answers[row] for row in one.train.tolist()) == Counter(wanted)


def test_balanced_draws_the_questions_of_each_answer_by_the_seed() -> None:
    task, runs = Modular(EQUAL, p=5, train_fraction=0.6), 400
    assert set(task.examples(0).train.tolist()) != set(task.examples(1).train.tolist())
    assert torch.equal(task.examples(1).train, task.examples(1).train)
    counts = torch.zeros(25)
    for seed in range(runs):
        counts[task.examples(seed).train] += 1
    assert (counts - 0.6 * runs).abs().max() < 4.5 * math.sqrt(runs * 0.24)


@pytest.mark.parametrize("name", ["equally frequent", "layout"])
def test_a_smaller_balanced_split_is_part_of_a_larger_one_where_answers_are_equally_frequent(name: str) -> None:
    for seed in range(3):
        parts = [
            set(replace(BY_ANSWER[name], train_fraction=(n + 0.5) / 121).examples(seed).train.tolist())
            for n in range(1, 121)
        ]
        assert all(small < large for small, large in pairwise(parts))


def test_largest_remainders_may_take_a_place_away() -> None:
    """The classical example of the Alabama paradox, which the docstring of the split names."""
    sizes = torch.tensor([6, 6, 2])
    assert shares(sizes, 10).tolist() == [4, 4, 2]
    assert shares(sizes, 11).tolist() == [5, 5, 1]


def test_every_distinct_sequence_is_an_answer() -> None:
    targets = torch.tensor([[0, 1], [0, 1], [1, 1], [1, 1], [0, 1], [1, 1], [0, 0], [0, 0]])
    table = Table(torch.arange(8)[:, None], targets, 8, LabelSequence(2, 2))
    train, _ = EQUAL(table, 0.5, 0)
    assert Counter(map(tuple, targets[train].tolist())) == {(0, 0): 1, (0, 1): 2, (1, 1): 1}


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Parity(SMALL), "data/split=curriculum: needs questions with operands, .*; use data/split=random$"),
        (Modular(SMALL, train_fraction=None), "data.train_fraction=null: this split needs a number"),
        (Modular(EQUAL, train_fraction=None), "data.train_fraction=null: this split needs a number"),
        (Modular(EQUAL, p=3, train_fraction=0.1), "data.train_fraction=0.1: leaves the training subset"),
    ],
)
def test_what_cannot_be_split_is_refused(task: SplitTask, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        task.examples(0)


def test_answers_that_are_numbers_cannot_be_balanced() -> None:
    table = Table(torch.randn(8, 2), torch.randn(8, 1), None, Numbers(1, 0.1))
    with pytest.raises(
        ConfigError, match=r"^data/split=balanced: needs answers that are classes.*use data/split=random"
    ):
        EQUAL(table, 0.5, 0)


@pytest.mark.parametrize("name", ["curriculum", "balanced"])
def test_the_command_line_has_them(name: str, inside: Inside, tmp_path: Path) -> None:
    typed = (*TINY, *QUIET, "mi=off", "train.steps=2", f"data/split={name}")
    ended_well(inside, *typed, "hydra.run.dir=run", cwd=tmp_path)
    assert rows(tmp_path / "run")[-1]["step"] == 2
    line = refusal(inside(*typed[2:], "data=parity", "data/split=curriculum", cwd=tmp_path))
    assert line.startswith("data/split=curriculum: needs questions with operands")
    text = " ".join(inside("--help", cwd=tmp_path).stdout.split())
    assert name in text.partition("the split. Others: ")[2].partition(".")[0]
