"""Groups of points: losses and accuracies of each, in stacks whose members have different ones, and marks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from builders import finish, member, task, trained, training
from torch import Tensor

from grokplane.data import Examples, Modular, RandomSplit, Table
from grokplane.data.split_task import SplitTask
from grokplane.models.mlp import MLP
from grokplane.optim import AdamW
from grokplane.options import ConfigError, option
from grokplane.train import GrokOptions, LogOptions, Member, Stack, try_metrics
from grokplane.train.observe import measure, observe

MASKS = {"even": lambda first: first % 2 == 0, "below": lambda first: first < 2, "none": lambda first: first < 0}
ALL = torch.ones(25, dtype=torch.bool)


@dataclass(frozen=True)
class Grouped(SplitTask):
    """Subtraction modulo 7 with groups by the first operand, and of the held-out questions by the answer."""

    split: Any = field(default_factory=RandomSplit)
    train_fraction: float | None = option(0.5, stackable=True)
    label_noise: float = option(0.0, stackable=True)
    names: list[str] = option(["even", "below"], stackable=True)

    def table(self, seed: int) -> Table:
        table = Modular(self.split, operation="sub", p=7).table(seed)
        return replace(table, groups={name: MASKS[name](table.inputs[:, 0]) for name in self.names})

    def examples(self, seed: int) -> Examples:
        found = super().examples(seed)
        return replace(found, groups={"test": {"zero": found.table.targets[found.test] == 0}})

    def ask(self, operands: Any) -> Tensor:
        return torch.tensor([int(operand) for operand in operands])


def grouped(**parts: Any) -> list[Member]:
    """Members with unequal splits and different groups; the last one has label noise."""
    keys: list[dict[str, Any]] = [
        {},
        {"train_fraction": 0.7, "names": ["none", "below"]},
        {"label_noise": 0.3, "names": []},
    ]
    return [member(seed=seed, data=Grouped(**some), **parts) for seed, some in enumerate(keys)]


def expected(examples: Examples) -> Mapping[str, tuple[str, list[int]]]:
    """By the group's name its subset and the places of its points, by a slow search."""
    rows = {"train": examples.train.tolist(), "test": examples.test.tolist()}
    found = {}
    for name, flags in examples.table.groups.items():
        for split, of_split in rows.items():
            places = [place for place, row in enumerate(of_split) if flags[row]]
            found |= {f"{split}/{name}": (split, places)} if places else {}
    zeros = [place for place, row in enumerate(rows["test"]) if examples.table.targets[row] == 0]
    found["test/zero"] = "test", zeros
    wrong = [examples.train_targets[place] != examples.table.targets[row] for place, row in enumerate(rows["train"])]
    if any(wrong):
        found["train/clean"] = "train", [place for place, one in enumerate(wrong) if not one]
        found["train/corrupted"] = "train", [place for place, one in enumerate(wrong) if one]
    return found


def test_losses_and_accuracies_of_groups_are_those_of_a_slow_twin() -> None:
    stack = trained(*grouped(train=training(steps=60)))
    seen = observe(stack)
    between = 0
    for number, record in enumerate(measure(stack, seen)):
        groups = expected(stack.members[number].data.examples(number))
        names = {name.partition("/")[2] for name in record if name.startswith(("Acc/", "Loss/"))}
        assert names == {"train", "test", *groups}
        for name, (split, places) in groups.items():
            subset = seen.splits[split]
            losses = [float(subset.losses[number, place]) for place in places]
            right = [
                int(subset.outputs[number, place].argmax()) == int(subset.targets[number, place]) for place in places
            ]
            if places:
                assert record[f"Loss/{name}"] == pytest.approx(math.fsum(losses) / len(places), rel=1e-9)
                assert record[f"Acc/{name}"] == pytest.approx(sum(right) / len(places), rel=1e-12)
                between += 0 < record[f"Acc/{name}"] < 1
            else:
                assert math.isnan(record[f"Loss/{name}"])
                assert math.isnan(record[f"Acc/{name}"])
    assert between > 3


def test_members_with_different_groups_record_what_they_would_record_alone() -> None:
    log = LogOptions(dense_steps=2, every=10)
    together = [point.records for point in finish(Stack(grouped(log=log))) if point.records]
    for number, one in enumerate(grouped(log=log)):
        alone = [point.records[0] for point in finish(Stack([one])) if point.records]
        for ours, theirs in zip((records[number] for records in together), alone, strict=True):
            assert ours.keys() == theirs.keys()
            assert ours == pytest.approx(theirs, rel=1e-9, nan_ok=True)


def test_a_network_learns_clean_labels_before_corrupted_ones() -> None:
    data = task(p=11, label_noise=0.2, train_fraction=0.6)
    model, optimizer = MLP(hidden=[32], embedding_dim=32), AdamW(lr=0.01, weight_decay=1.0)
    one = member(data=data, model=model, optimizer=optimizer, train=training(steps=60))
    first, *_, last = (point.records[0] for point in finish(Stack([one])) if point.records)
    assert abs(first["Loss/train/clean"] - first["Loss/train/corrupted"]) < 0.5
    assert last["Loss/train/clean"] < 0.5 * last["Loss/train/corrupted"]
    assert last["Acc/train"] == pytest.approx(
        0.8 * last["Acc/train/clean"] + 0.2 * last["Acc/train/corrupted"], abs=0.01
    )


def test_marks_can_be_those_of_a_group() -> None:
    keys = {"train": training(steps=300), "log": LogOptions(dense_steps=0, every=10), "optimizer": AdamW(lr=0.01)}
    marks = {}
    for questions in ("test", "test/even", "test/zero"):
        one = member(data=Grouped(train_fraction=0.8), grok=GrokOptions(threshold=0.3, questions=questions), **keys)
        points = finish(Stack([one]))
        records = [point.records[0] for point in points if point.records]
        reached = [record["step"] for record in records if record[f"Acc/{questions}"] >= 0.3]
        marks[questions] = trained(one).marks[0].test_step
        assert marks[questions] == (reached[0] if reached else None)
    assert len(set(marks.values())) > 1


@pytest.mark.parametrize(
    ("questions", "allowed"),
    [
        ("test/evn", "allowed: test, test/even, test/below, test/zero"),
        ("train/even", "allowed: test, test/even, test/below, test/zero"),
        ("unseen", "needs operands that can be swapped, and this task's answers depend on their order; use test"),
    ],
)
def test_marks_by_a_group_that_is_not_there_are_refused(questions: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Stack([member(data=Grouped(), grok=GrokOptions(questions=questions))])
    assert str(caught.value).startswith(f"grok.questions={questions}: ")
    assert str(caught.value).endswith(allowed)


def test_marks_need_a_group_that_every_member_has() -> None:
    with pytest.raises(ConfigError, match=r"^grok.questions=test/even: .*allowed: test, test/zero$"):
        Stack(grouped(grok=GrokOptions(questions="test/even")))


def test_a_trial_of_metrics_takes_groups() -> None:
    try_metrics(Stack(grouped()))


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"test": {"a/b": ALL}}, "data=test/a/b: a group of points needs a name of its own"),
        ({"test": {"even": ALL}}, "data=test/even: a group of points needs a name of its own"),
        ({"test": {"odd": ALL[1:]}}, "data=test/odd: a group must be of train, test or ood, with one bool for each"),
        (
            {"test": {"odd": ALL.float()}},
            "data=test/odd: a group must be of train, test or ood, with one bool for each",
        ),
        ({"eval": {"odd": ALL}}, "data=eval/odd: a group must be of train, test or ood"),
    ],
)
def test_groups_that_cannot_be_used_are_refused(groups: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = replace(Grouped().examples(0), groups=groups)
    monkeypatch.setattr(Grouped, "examples", lambda *_: examples)
    with pytest.raises(ConfigError) as caught:
        Stack([member(data=Grouped())])
    assert str(caught.value).startswith(message)
