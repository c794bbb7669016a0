"""Extremes between log points, against a run that is looked at after every update."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from builders import assert_same_stacks, member, task, training
from torch import Tensor

from grokplane.metrics import Metric
from grokplane.metrics.spikes import Spikes
from grokplane.optim import SAM, SGD, AdamW
from grokplane.train import LogOptions, Member, Stack, run

STEPS, EVERY = 23, 5
NAMES = ("spike_update_norm", "spike_last_norm", "spike_loss", "spike_accuracy", "spike_jumps")


def watched(every: int = EVERY, **parts: Any) -> Member:
    log, metrics = LogOptions(dense_steps=0, every=every), {"spikes": parts.pop("spikes", Spikes(jump=1.05))}
    options = parts.pop("train", training(steps=STEPS, batch_size=8))
    return member(**({"log": log, "metrics": metrics, "optimizer": SGD(lr=0.6), "train": options} | parts))


def recorded(stack: Stack) -> list[dict[int, dict[str, Any]]]:
    """Each member's records by step."""
    found: list[dict[int, dict[str, Any]]] = [{} for _ in stack.members]
    for point in run(stack):
        for number, record in enumerate(point.records):
            if record:
                found[number][record["step"]] = record
    return found


def slow(one: Member) -> list[dict[str, float]]:
    """The values of every update, from a run without the metric that pauses after each of them."""
    stack = Stack([Member(**{**vars(one), "metrics": {}, "log": LogOptions(dense_steps=0, every=1)})])
    losses: list[float] = []
    correct: list[float] = []
    plain = stack.loss

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        found = plain(outputs, targets)
        if outputs.requires_grad:
            losses.append(float(found.detach().mean()))
            correct.append(float((outputs.argmax(-1) == targets).double().mean()))
        return found

    stack.loss = loss
    updates = []
    before = [value.detach().clone() for value in stack.parameters.values()]
    last = list(stack.network.layers().values())[-1].values()
    for _ in run(stack):
        now = [value.detach().clone() for value in stack.parameters.values()]
        if stack.step and len(updates) < stack.step:
            moved = math.sqrt(sum(float((a - b).square().sum()) for a, b in zip(now, before, strict=True)))
            norm = math.sqrt(sum(float(value.detach().square().sum()) for value in last))
            number = stack.step - 1
            updates.append({"moved": moved, "last": norm, "loss": losses[number], "accuracy": correct[number]})
        before = now
    return updates


def expected(updates: list[dict[str, float]], start: int, stop: int, jump: float) -> list[float]:
    part = updates[start:stop]
    jumps = [step for step in range(start, stop) if step and updates[step]["loss"] > jump * updates[step - 1]["loss"]]
    return [
        max(one["moved"] for one in part),
        max(one["last"] for one in part),
        max(one["loss"] for one in part),
        min(one["accuracy"] for one in part),
        len(jumps) / len(part),
    ]


def test_the_values_are_those_of_every_update_since_the_last_log_point() -> None:
    one = watched()
    updates, found = slow(one), recorded(Stack([one]))[0]
    assert [found[0][name] is None or math.isnan(found[0][name]) for name in NAMES] == [True] * 5
    steps = [*range(0, STEPS, EVERY), STEPS]
    for start, stop in pairwise(steps):
        assert [found[stop][name] for name in NAMES] == pytest.approx(expected(updates, start, stop, 1.05), rel=1e-6)
    assert 0 < sum(found[step]["spike_jumps"] for step in steps[1:]) < len(steps) - 1


def test_a_metric_that_is_logged_seldom_looks_at_all_steps_since_then() -> None:
    updates, found = slow(watched()), recorded(Stack([watched(spikes=Spikes(jump=1.05, every=2))]))[0]
    assert "spike_loss" not in found[5]
    assert [found[10][name] for name in NAMES] == pytest.approx(expected(updates, 0, 10, 1.05), rel=1e-6)


@pytest.mark.parametrize("optimizer", [SGD(lr=0.6), AdamW()])
def test_a_stack_equals_solo_and_training_is_undisturbed(optimizer: Any) -> None:
    members = [watched(seed=seed, optimizer=optimizer) for seed in range(3)]
    together = recorded(stacked := Stack(members))
    for number, one in enumerate(members):
        alone = recorded(Stack([one]))[0]
        for step, record in alone.items():
            for name in NAMES:
                assert together[number][step][name] == pytest.approx(record[name], rel=1e-9, nan_ok=True)
    plain = Stack([Member(**{**vars(one), "metrics": {}}) for one in members])
    for _ in run(plain):
        pass
    for name, value in plain.parameters.items():
        assert torch.equal(value, stacked.parameters[name])


@pytest.mark.parametrize("at", [5, 7])
def test_a_resumed_run_logs_the_same_to_the_bit(at: int) -> None:
    """At a log point, which is logged again, and between two of them."""
    whole = recorded(ended := Stack([watched()]))[0]
    first = Stack([watched()])
    for _ in run(first, stop=lambda: first.step >= at):
        if first.step >= at:
            break
    again = Stack([watched()])
    again.load_states([first.state(0)])
    rows = recorded(again)[0]
    for step, record in rows.items():
        for name in NAMES:
            assert record[name] == whole[step][name]
    assert min(rows) == (5 if at == 5 else 10)
    assert_same_stacks(again, ended)


def test_a_member_that_diverges_and_one_that_leaves_do_not_change_the_others() -> None:
    members = [watched(seed=0), watched(seed=1, optimizer=SGD(lr=1e30))]
    together, alone = recorded(stack := Stack(members)), [recorded(Stack([one]))[0] for one in members]
    assert stack.rows == [0]
    for found, records in zip(together, alone, strict=True):
        assert found.keys() == records.keys()
        for step, record in records.items():
            for name in NAMES:
                assert found[step][name] == pytest.approx(record[name], rel=1e-9, nan_ok=True)


def test_the_accuracy_under_a_rule_is_that_of_the_first_pass() -> None:
    one = watched(every=1, rules={"sam": SAM(rho=0.5)}, train=training(steps=3, batch_size="full"))
    stack = Stack([one])
    found = recorded(stack)[0]
    plain = recorded(Stack([watched(every=1, train=training(steps=1, batch_size="full"))]))[0]
    assert found[1]["spike_accuracy"] == plain[1]["spike_accuracy"] == pytest.approx(found[0]["Acc/train"])


def test_nothing_is_tracked_unless_asked() -> None:
    stack = Stack([member(data=task())])
    assert stack.tracker is None
    assert "tracked" not in stack.state(0)
    assert isinstance(Spikes(), Metric)
