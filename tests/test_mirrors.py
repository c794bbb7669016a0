"""Mirrored questions: which tables have them, the split that keeps them together, and metrics of unseen questions."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import finish, member, task, trained, training
from command import QUIET, Inside, rows, summary

from grokplane.answers import Labels
from grokplane.data import (
    OPERATIONS,
    Modular,
    Parity,
    Permutations,
    RandomSplit,
    Sums,
    Table,
    UnorderedSplit,
)
from grokplane.data.mirrors import mirror_classes, unseen
from grokplane.models.mlp import MLP
from grokplane.optim import AdamW
from grokplane.options import ConfigError
from grokplane.train import GrokOptions, LogOptions, Member, Stack
from grokplane.train.observe import measure, observe

P = 13
SYMMETRIC = ["add", "mul", "x2_plus_y2", "x2_plus_y2_plus_xy"]
UNORDERED = UnorderedSplit()
TASKS: dict[str, Modular | Sums] = {
    **{name: Modular(UNORDERED, p=P, operation=name) for name in SYMMETRIC},
    "equation": Modular(UNORDERED, p=P, layout="equation"),
    "2 operands": Sums(UNORDERED, p=P, operands=2),
    "3 operands": Sums(UNORDERED, p=7, operands=3),
    "4 operands": Sums(UNORDERED, p=5, operands=4, layout="equals"),
    "some equations": Sums(UNORDERED, p=P, operands=3, equations=700),
    "some residues": Sums(UNORDERED, p=31, operands=3, residues=6),
    "some of both": Sums(UNORDERED, p=31, operands=4, residues=6, equations=900),
}
FRACTIONS = (0.1, 0.3, 0.5, 0.6, 0.85)


def unordered(table: Table) -> list[tuple[int, ...]]:
    """Every question's operands in ascending order, including symbols, which all questions share."""
    return [tuple(sorted(row)) for row in table.inputs.tolist()]


@pytest.mark.parametrize("name", TASKS)
def test_the_same_number_means_the_same_operands(name: str) -> None:
    table = TASKS[name].table(0)
    assert table.mirrors is not None
    numbers = dict(zip(table.mirrors.tolist(), unordered(table), strict=True))
    assert [numbers[one] for one in table.mirrors.tolist()] == unordered(table)
    assert len(numbers) == len(set(unordered(table)))


@pytest.mark.parametrize("name", OPERATIONS)
def test_tables_have_mirrors_where_the_answers_do_not_depend_on_the_order(name: str) -> None:
    table = Modular(RandomSplit(), p=P, operation=name).table(3)
    answers = {tuple(pair): answer for pair, answer in zip(table.inputs.tolist(), table.targets.tolist(), strict=True)}
    same = all(answers.get((b, a), answer) == answer for (a, b), answer in answers.items())
    assert same == (name in SYMMETRIC) == (table.mirrors is not None)


@pytest.mark.parametrize("operation", ["s5", "s5_conjugate", "s5_aba"])
def test_the_order_of_permutations_matters(operation: str) -> None:
    table = Permutations(RandomSplit(), operation=operation).table(0)
    assert table.mirrors is mirror_classes(table.inputs, table.targets) is None


@pytest.mark.parametrize("name", TASKS)
def test_no_question_is_on_both_sides(name: str) -> None:
    for seed in range(4):
        for fraction in FRACTIONS:
            one = replace(TASKS[name], train_fraction=fraction).examples(seed)
            questions = unordered(one.table)
            train, test = ({questions[row] for row in rows.tolist()} for rows in (one.train, one.test))
            assert not train & test
            assert sorted(torch.cat([one.train, one.test]).tolist()) == list(range(len(questions)))
            largest = max(Counter(questions).values())
            assert abs(len(one.train) - int(fraction * len(questions))) <= largest / 2


@pytest.mark.parametrize("name", TASKS)
def test_a_smaller_fraction_is_part_of_a_larger_one_and_the_seed_decides(name: str) -> None:
    parts = [set(replace(TASKS[name], train_fraction=f).examples(5).train.tolist()) for f in FRACTIONS]
    assert all(small < large for small, large in pairwise(parts))
    assert parts[2] != set(replace(TASKS[name], train_fraction=FRACTIONS[2]).examples(6).train.tolist())


def test_every_class_trains_equally_often() -> None:
    """Diagonal pairs, which are classes of one question, as often as others."""
    runs, table = 600, Modular(UNORDERED, p=7).table(0)
    counts = torch.zeros(49)
    for seed in range(runs):
        counts[UNORDERED(table, 0.5, seed)[0]] += 1
    spread = math.sqrt(runs * 0.25)
    assert (counts - runs / 2).abs().max() < 4.5 * spread
    assert abs(counts[:: 7 + 1].mean() - runs / 2) < 4.5 * spread / math.sqrt(7)


def test_label_noise_works_with_it() -> None:
    one = Modular(UNORDERED, p=P, label_noise=0.2).examples(0)
    assert int((one.train_targets != one.table.targets[one.train]).sum()) == int(0.2 * len(one.train))


@pytest.mark.parametrize(
    "data",
    [
        *(Modular(UNORDERED, p=P, operation=name) for name in OPERATIONS if name not in SYMMETRIC),
        Permutations(UNORDERED),
        Parity(UNORDERED),
    ],
    ids=lambda one: getattr(one, "operation", "parity"),
)
def test_it_is_refused_where_the_order_matters(data: Modular | Permutations | Parity) -> None:
    with pytest.raises(ConfigError, match=r"^data/split=unordered: .*depend on their order; use data/split=random$"):
        data.examples(0)


@pytest.mark.parametrize(("fraction", "empty"), [(None, "above 0"), (0.05, "training")])
def test_a_fraction_that_trains_on_nothing_is_refused(fraction: float | None, empty: str) -> None:
    with pytest.raises(ConfigError, match=rf"^data.train_fraction=.*{empty}"):
        Sums(UNORDERED, p=2, operands=4, train_fraction=fraction).examples(0)


def test_each_side_has_a_class_however_large_it_is() -> None:
    """16 questions in classes of 1, 4, 6, 4 and 1."""
    for seed in range(20):
        least, most = (Sums(UNORDERED, p=2, operands=4, train_fraction=f).examples(seed) for f in (0.07, 0.995))
        assert len(set(least.table.mirrors[least.train].tolist())) == 1  # type: ignore[index]
        assert len(set(most.table.mirrors[most.test].tolist())) == 1  # type: ignore[index]


def test_a_table_of_one_class_cannot_be_split() -> None:
    pair = Table(torch.tensor([[0, 1], [1, 0]]), torch.tensor([1, 1]), 2, Labels(2), mirrors=torch.tensor([1, 1]))
    with pytest.raises(ConfigError, match=r"^data/split=unordered: needs questions that do not all mirror each other"):
        UNORDERED(pair, 0.5, 0)


def test_unseen_questions_are_those_of_a_slow_search() -> None:
    for data in (task(p=11), Sums(RandomSplit(), p=7), replace(TASKS["some equations"], split=RandomSplit())):
        one = data.examples(2)
        questions = unordered(one.table)
        seen = {questions[row] for row in one.train.tolist()}
        found = unseen(one).tolist()
        assert found == [questions[row] not in seen for row in one.test.tolist()]
        assert 0 < sum(found) < len(found)


def test_the_source_s_split_holds_out_582_mirrors_of_training_pairs() -> None:
    one = Modular(RandomSplit(), train_fraction=0.3).examples(0)
    assert (len(one.test), int((~unseen(one)).sum())) == (1967, 582)


def stackable() -> list[Member]:
    """Members of one stack with unequal splits: the third has no unseen questions, the last no mirrored ones."""
    keys: list[dict[str, Any]] = [
        {"train_fraction": 0.3},
        {"train_fraction": 0.6, "label_noise": 0.2},
        {"operation": "mul", "train_fraction": 0.99},
        {"operation": "sub"},
    ]
    return [member(seed=seed, data=task(p=11, **some)) for seed, some in zip((2, 0, 1, 3), keys, strict=True)]


def test_accuracy_and_loss_of_unseen_questions_are_those_of_a_slow_twin() -> None:
    stack = trained(*stackable())
    seen = observe(stack, None)
    records = measure(stack, seen)
    for number, one in enumerate(stack.members[:3]):
        examples, found = one.data.examples(one.seed), []
        questions = unordered(examples.table)
        known = {questions[row] for row in examples.train.tolist()}
        for place, row in enumerate(examples.test.tolist()):
            outputs = seen.eval.outputs[number, place].tolist()
            if questions[row] not in known:
                answer = int(examples.table.targets[row])
                loss = math.log(math.fsum(map(math.exp, outputs))) - outputs[answer]
                found.append((outputs.index(max(outputs)) == answer, loss))
        if number < 2:
            assert 0 < len(found) < len(examples.test)
            right, losses = zip(*found, strict=True)
            assert records[number]["Acc/unseen"] == pytest.approx(sum(right) / len(found), rel=1e-12)
            assert records[number]["Loss/unseen"] == pytest.approx(math.fsum(losses) / len(found), rel=1e-9)
        else:
            assert found == []
            assert math.isnan(records[number]["Acc/unseen"])
            assert math.isnan(records[number]["Loss/unseen"])
    assert not {name for name in records[3] if name.endswith("unseen")}


def test_members_of_a_stack_tell_what_they_would_tell_alone() -> None:
    together = [point.records for point in finish(Stack(stackable())) if point.records]
    for number, one in enumerate(stackable()):
        alone = [point.records[0] for point in finish(Stack([one])) if point.records]
        for ours, theirs in zip((records[number] for records in together), alone, strict=True):
            assert ours.keys() == theirs.keys()
            assert ours == pytest.approx(theirs, rel=1e-9, nan_ok=True)


def test_members_with_unordered_splits_have_their_own_questions_in_a_stack() -> None:
    members = [
        member(seed=seed, data=Modular(UNORDERED, p=7, operation=name, train_fraction=fraction))
        for seed, (name, fraction) in enumerate([("add", 0.3), ("mul", 0.6), ("x2_plus_y2", 0.5)])
    ]
    stack = trained(*members)
    records = measure(stack, observe(stack, None))
    for number, one in enumerate(members):
        examples = one.data.examples(one.seed)
        for subset, chosen in ((stack.examples.train, examples.train), (stack.examples.test, examples.test)):
            own = subset.inputs()[number, : int(subset.count[number])]
            assert torch.equal(own, examples.table.inputs[chosen])
        for name in ("Acc", "Loss"):  # no held-out question has a mirror in training
            assert records[number][f"{name}/unseen"] == records[number][f"{name}/test"]


def leaking(**grok: Any) -> Member:
    """A small network that sums its operands' embeddings, on pairs that are split one by one."""
    return member(
        data=task(p=P, train_fraction=0.4),
        model=MLP(hidden=[32], embedding_dim=32),
        optimizer=AdamW(lr=0.01, weight_decay=0.0),
        log=LogOptions(dense_steps=0, every=20),
        grok=GrokOptions(**grok),
        train=training(steps=200),
    )


def test_a_network_that_has_only_memorised_answers_the_mirrors_alone() -> None:
    stack = Stack([leaking()])
    *_, last = finish(stack)
    (record,) = last.records
    mirrors = 1 - float(stack.examples.groups["unseen"].points.double().mean())
    assert record["Acc/train"] == 1
    assert record["Acc/unseen"] < 0.1
    assert mirrors > 0.3
    assert record["Acc/test"] == pytest.approx(mirrors + (1 - mirrors) * record["Acc/unseen"], rel=1e-12)


def test_grok_marks_can_be_made_by_unseen_questions() -> None:
    (by_all,), (by_unseen,) = (trained(leaking(threshold=0.3, **keys)).marks for keys in ({}, {"questions": "unseen"}))
    assert by_all.train_step == by_unseen.train_step is not None
    assert by_all.test_step is not None
    assert by_unseen.test_step is None


def test_a_run_says_which_questions_its_marks_are_of(tmp_path: Path, inside: Inside) -> None:
    few = ("data.p=5", "data/split=random", "model.hidden=[8]", "train.steps=5", "mi=off", "hydra.run.dir=run")
    done = inside(*few, *QUIET, "grok.questions=unseen", cwd=tmp_path)
    assert "generalised  never: accuracy on the held-out questions without a mirror in training stayed" in done.stdout
    assert summary(tmp_path / "run")["grok"]["questions"] == "unseen"
    assert all({"Acc/unseen", "Loss/unseen"} <= row.keys() for row in rows(tmp_path / "run"))


@pytest.mark.parametrize("number", [0, 1])
def test_marks_by_unseen_questions_are_refused_where_none_mirror_each_other(number: int) -> None:
    members = [replace(one, grok=GrokOptions(questions="unseen")) for one in stackable()[2 + number :]]
    with pytest.raises(ConfigError, match=r"^grok.questions=unseen: .*order; use test$"):
        Stack(members)
