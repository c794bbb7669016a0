"""Captured and replayed steps give the same bits as single steps; for CUDA graphs themselves see test_cuda.py."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from builders import OPTIMIZERS, assert_same_stacks, diverged, finish, member, task, trained, training, weights

from grokplane.losses import MSE
from grokplane.models.mlp import MLP
from grokplane.optim import SGD, AdamW, Cosine, Directions, GrokfastEMA, UpdateNoise
from grokplane.train import LogOptions, Member, Stack, loop, run
from grokplane.train.capture import CapturedSteps, Step

EARLY = LogOptions(dense_steps=0, every=7)


class Recorder:
    """A stand-in for a CUDA graph: counts the captures, and repeats a step by running it."""

    def __init__(self) -> None:
        self.recorded = self.repeated = 0

    def __call__(self, step: Step, device: torch.device) -> Step:  # noqa: ARG002 (what `cuda_graph` takes)
        self.recorded += 1

        def repeat() -> None:
            self.repeated += 1
            step()

        return repeat


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Make every stack capturable."""
    found = Recorder()
    use(found, monkeypatch)
    return found


def use(record: Callable[[Step, torch.device], Step], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stack, "capturable", True)
    monkeypatch.setattr(loop, "CapturedSteps", partial(CapturedSteps, record=record))


def members(optimizer: str = "adamw", **parts: Any) -> list[Member]:
    kind, keys = OPTIMIZERS[optimizer]
    chosen = [kind(lr=lr, weight_decay=0.1, **keys) for lr in (1e-3, 3e-3, 1e-2)]  # type: ignore[call-arg]
    data = [task(train_fraction=fraction) for fraction in (0.3, 0.5, 0.6)]
    return [
        member(**{"seed": number, "optimizer": one, "data": each, "log": EARLY} | parts)
        for number, (one, each) in enumerate(zip(chosen, data, strict=True))
    ]


@pytest.mark.parametrize("batch_size", ["full", 9])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_repeated_steps_end_in_the_bits_of_single_ones(
    recorder: Recorder, optimizer: str, batch_size: int | str
) -> None:
    stackable = members(optimizer, train=training(steps=40, batch_size=batch_size))
    repeated = trained(*stackable)
    assert (recorder.recorded, recorder.repeated) == (1, 36)  # the first four lie between the pauses at 0, 1, 2 and 4
    assert_same_stacks(repeated, trained(*stackable, capture=False))
    assert recorder.repeated == 36


def test_schedules_and_random_rules_too(recorder: Recorder) -> None:
    stackable = members(schedule=Cosine(warmup_steps=6), rules={"update_noise": UpdateNoise(0.01)})
    assert_same_stacks(trained(*stackable), trained(*stackable, capture=False))
    assert recorder.repeated == 16


def doomed(steps: int = 40) -> list[Member]:
    """Three members; the second one's weight decay multiplies its weights by a thousand at every step."""
    model = MLP(hidden=[8, 8], embedding_dim=6, activation="LeakyReLU")
    parts: dict[str, Any] = {"loss": MSE(), "train": training(steps=steps), "model": model, "log": EARLY}
    chosen = SGD(lr=0.01), SGD(lr=1e-200, weight_decay=1e203), SGD(lr=0.02)
    return [member(seed=seed, optimizer=one, **parts) for seed, one in enumerate(chosen)]


def test_a_member_that_is_lost_on_the_way_ends_at_its_step_and_others_go_on(recorder: Recorder) -> None:
    repeated, single = trained(*doomed()), trained(*doomed(), capture=False)
    step = diverged(single)[1]
    assert step > 4
    assert step not in (7, 8, 14, 16, 21, 28, 32, 35)  # diverged within a stretch, not at a pause
    for stack in (repeated, single):
        assert stack.rows == [0, 2]
        assert diverged(stack) == [-1, step, -1]
    assert_same_stacks(repeated, single)
    assert recorder.recorded == 2  # captured again after the member was removed
    # The stretch with the loss was repeated before it was done again; a new capture has its own first steps.
    assert recorder.repeated >= 31


def test_a_grids_optimizer_and_what_a_rule_remembers_are_put_back_too(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the optimizer that a GPU uses in place of one param group per member."""

    def directions(choices: list[SGD], parameters: Any, hidden: Any) -> Directions:  # noqa: ARG001 (its arguments)
        return Directions(choices, parameters)

    monkeypatch.setattr(SGD, "stacked", staticmethod(directions))
    stackable = [replace(one, rules={"grokfast_ema": GrokfastEMA(lamb=0.1)}) for one in doomed()]
    repeated, single = trained(*stackable), trained(*stackable, capture=False)
    assert diverged(single)[1] > 4
    assert isinstance(single.optimizer, Directions)
    assert_same_stacks(repeated, single)
    assert recorder.repeated >= 31


def test_a_solo_member_that_is_lost_ends_the_run(recorder: Recorder) -> None:
    alone = trained(doomed()[1])
    assert alone.step == int(alone.diverged[0]) == int(trained(doomed()[1], capture=False).diverged[0])
    assert recorder.repeated


def test_members_that_stopped_stay_as_they_were(recorder: Recorder) -> None:
    stacks = [Stack(members()), Stack(members())]
    for stack, capture in zip(stacks, (True, False), strict=True):
        seen = []
        for point in run(stack, capture=capture):
            if 1 in stack.rows:
                stack.alive[1] = point.step < 7
            seen += [weights(stack, 1)] * (point.step >= 7)
        assert all(torch.equal(one, seen[0]) for one in seen)
        assert stack.rows == [0, 2]
    assert_same_stacks(stacks[0], stacks[1])
    assert recorder.repeated == 10


def test_a_request_to_stop_ends_a_stretch(recorder: Recorder) -> None:
    stack = Stack(members())
    pauses = [point.step for point in run(stack, stop=lambda: stack.step >= 11)]
    assert pauses[-1] == stack.step == 11
    again = Stack(members())
    again.load_states([stack.state(number) for number in range(3)])
    finish(again)
    assert_same_stacks(again, trained(*members(), capture=False))
    assert recorder.recorded == 2


def test_a_step_that_cannot_be_recorded_is_done_singly(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> Step:
        raise RuntimeError("operation not permitted when stream is capturing")

    use(refuse, monkeypatch)
    with caplog.at_level(logging.WARNING):
        stack = trained(*members())
    assert_same_stacks(stack, trained(*members(), capture=False))
    assert caplog.messages == [
        "the step cannot be captured as a CUDA graph and will be slower (operation not permitted when stream is "
        "capturing)"
    ]


def test_on_a_cpu_nothing_is_captured() -> None:
    assert not Stack([member()]).capturable


def test_adamw_of_zero_decay_keeps_its_bits(recorder: Recorder) -> None:
    stackable = [replace(one, optimizer=AdamW(weight_decay=0.0)) for one in members()]
    assert_same_stacks(trained(*stackable), trained(*stackable, capture=False))
    assert recorder.repeated == 16
