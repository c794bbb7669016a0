"""The loop: where it pauses, when it stops, what it marks, and that it resumes where it was stopped."""

from __future__ import annotations

import io
import itertools
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import NEVER, diverged, finish, member, task, trained, training, weights

from grokplane.data import OrderedSplit
from grokplane.losses import MSE
from grokplane.metrics import Information, Loss, Off, StepTime
from grokplane.models import lookup
from grokplane.models.mlp import MLP
from grokplane.optim import SGD, Adam, AdamW, Cosine, RMSprop
from grokplane.options import ConfigError
from grokplane.train import (
    GrokMarks,
    GrokOptions,
    LogOptions,
    Member,
    Stack,
    check_stackable,
    prepare_process,
    run,
    train,
)
from grokplane.train.device import find_device


def log_points(log: LogOptions, steps: int) -> list[int]:
    """The steps that are logged, the last one included."""
    points = [0]
    while points[-1] < steps:
        points.append(min(log.next_after(points[-1]), steps))
    return points


def test_the_published_log_points() -> None:
    points = log_points(LogOptions(dense_steps=30, every=1000), 100_000)
    assert points == [*range(30), *range(1000, 100_001, 1000)]
    assert len(points) == 130


def test_geometric_log_points() -> None:
    log = LogOptions(dense_steps=0, points_per_decade=3)
    assert log_points(log, 1500) == [0, 1, 2, 5, 10, 22, 46, 100, 215, 464, 1000, 1500]
    dense = LogOptions(dense_steps=12, points_per_decade=1)
    assert log_points(dense, 10_000) == [*range(12), 100, 1000, 10_000]


@pytest.mark.parametrize("points", [None, 1, 4, 50])
@pytest.mark.parametrize("dense", [0, 1, 9, 30])
def test_a_step_is_due_exactly_if_it_is_the_next_log_point_of_another(dense: int, points: int | None) -> None:
    log = LogOptions(dense_steps=dense, every=7, points_per_decade=points)
    found = log_points(log, 3000)
    assert found[:-1] == [step for step in range(3000) if log.due(step)]
    assert 0.5 < (log.count(3000) + 2) / len(found) < 2


def test_the_loop_logs_at_the_log_points_and_checkpoints_at_powers_of_two_besides() -> None:
    log = LogOptions(dense_steps=3, every=50)
    points = list(train([member(log=log, metrics={"loss": Loss()}, train=training(steps=260, checkpoint_every=90))]))
    assert [point.step for point in points if point.records] == [0, 1, 2, 50, 100, 150, 200, 250, 260]
    assert [p.step for p in points if p.checkpoint] == [1, 2, 4, 8, 16, 32, 64, 90, 128, 180, 256, 260]
    assert [p.step for p in points if all(p.finished)] == [260]
    assert max(b.step - a.step for a, b in itertools.pairwise(points)) <= 100
    assert all(set(record) >= {"Loss/train", "Acc/test"} for point in points for record in point.records)


def test_a_tiny_task_is_fitted() -> None:
    members = [member(seed=seed, train=training(steps=300), optimizer=AdamW(lr=1e-2)) for seed in range(3)]
    *_, last = train(members)
    assert [record["Acc/train"] for record in last.records] == [1, 1, 1]
    assert last.step == 300


def test_the_time_of_a_step_is_measured_between_log_points() -> None:
    log = LogOptions(dense_steps=0, every=10)
    points = [p for p in train([member(log=log, metrics={"time": StepTime()})]) if p.records]
    assert "time/seconds_per_step" not in points[0].records[0]
    assert all(0 < point.records[0]["time/seconds_per_step"] < 1 for point in points[1:])


def test_grok_marks_are_the_first_log_points_at_the_threshold() -> None:
    marks, options = GrokMarks(), GrokOptions(threshold=0.9)
    delays = []
    for step, accuracies in enumerate([(0.1, 0.2), (0.9, 0.3), (0.5, 0.89), (1, 0.95), (1, 1)]):
        marks.see(step * 10, *accuracies, options)
        delays.append(marks.delay)
    assert (marks.train_step, marks.test_step) == (10, 30)
    assert delays == [None, None, None, 20, 20]


def test_a_threshold_that_is_never_reached_leaves_no_mark() -> None:
    stack = trained(member(train=training(steps=5)))
    assert stack.marks == [GrokMarks(None, None)]
    assert stack.marks[0].delay is None


def grokker(seed: int, stop_after: int | None, steps: int = 400) -> Member:
    """It answers a fifth of the held-out questions early, which is enough here."""
    return member(
        seed=seed,
        data=task(train_fraction=0.8),
        grok=GrokOptions(threshold=0.2, stop_after=stop_after),
        log=LogOptions(dense_steps=0, every=25),
        optimizer=AdamW(lr=1e-2),
        train=training(steps=steps),
    )


def test_stop_after_freezes_a_member_some_steps_after_it_generalised() -> None:
    free, stopped = trained(grokker(0, None), grokker(1, None)), Stack([grokker(0, 100), grokker(1, 100)])
    points = finish(stopped)
    ends = [marks.test_step + 100 for marks in stopped.marks if marks.test_step is not None]
    assert free.step == 400
    assert stopped.marks == free.marks
    assert stopped.step == max(ends) < 400
    for number, end in enumerate(ends):
        # The last one's round-off changes when it is alone in the stack, by 1e-16 at first.
        unstopped = weights(trained(grokker(0, None, end), grokker(1, None, end)), number)
        torch.testing.assert_close(weights(stopped, number), unstopped, rtol=0, atol=1e-9)
        finished = [point.step for point in points if point.records and point.finished[number]]
        assert finished[0] == end
    assert not stopped.alive.any()
    assert diverged(stopped) == [-1, -1]


def counting(limit: int) -> Callable[[], bool]:
    """Asks to stop from the limit-th call on."""
    asked = iter(range(1, 10**9))
    return lambda: next(asked) >= limit


def test_a_caller_who_says_stop_gets_one_more_pause() -> None:
    stack = Stack([member(train=training(steps=1000))])
    points = list(run(stack, counting(37)))
    assert points[-1].interrupted
    assert 0 < points[-1].step == stack.step < 40
    assert not any(point.interrupted or point.records for point in points[1:-1])


def test_a_stop_at_the_last_step_is_an_ordinary_end() -> None:
    stack = Stack([member(train=training(steps=3))])
    points = list(run(stack, lambda: stack.step == 3))
    assert [point.interrupted for point in points] == [False] * len(points)
    assert points[-1].finished == [True]
    assert points[-1].records


# The last number of each: number of columns per token from which rows are gathered; 0 is always, 56 not for these.
SETTINGS: dict[str, tuple[dict[str, Any], int]] = {
    "full": ({}, 56),
    "full, gathered": ({}, 0),
    "shuffled": ({"train": training(steps=150, batch_size=9)}, 56),
    "shuffled, gathered": ({"train": training(steps=40, batch_size=9)}, 0),
    "replacement": ({"train": training(steps=90, batch_size=9, sampling="replacement")}, 56),
    "cosine": ({"train": training(steps=40), "schedule": Cosine(warmup_steps=20), "optimizer": Adam()}, 56),
    "float32": ({"train": training(dtype="float32", batch_size=9), "optimizer": SGD(momentum=0.9)}, 56),
    "rmsprop": ({"train": training(batch_size=9), "optimizer": RMSprop(momentum=0.5), "loss": MSE()}, 56),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_run_stopped_anywhere_goes_on_bit_identically(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, columns = SETTINGS[setting]
    monkeypatch.setattr(lookup, "PRODUCT_COLUMNS_PER_TOKEN", columns)
    members = with_one_that_overflows(member(log=LogOptions(dense_steps=5, every=13), **parts))
    steps = members[0].train.steps
    whole = trained(*members)
    for seed in range(2):
        part, rest = Stack(members), Stack(members)
        list(run(part, counting(random.Random(seed).randint(2, steps))))
        assert 0 < part.step < steps
        rest.load_states([saved(part.state(number)) for number in range(3)])
        finish(rest)
        assert diverged(rest) == diverged(whole) == [-1, 0, -1]
        assert rest.marks == whole.marks
        for number in range(3):
            assert torch.equal(weights(rest, number), weights(whole, number))


def with_one_that_overflows(one: Member) -> list[Member]:
    """Three members, of which the second diverges in its first step and the third has a learning rate of its own."""
    overflows = replace(one, seed=2, model=replace(one.model, init_scale=1e200))  # type: ignore[type-var]
    return [one, overflows, replace(one, seed=1, optimizer=replace(one.optimizer, lr=5e-3))]  # type: ignore[call-arg]


def saved(state: dict[str, Any]) -> dict[str, Any]:
    """The state as it is read from a checkpoint."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_states_of_different_steps_are_refused() -> None:
    early, late = Stack([member()]), trained(member())
    with pytest.raises(ValueError, match=r"must be of one step, but are of steps \[0, 20\]"):
        Stack([member(), member(seed=1)]).load_states([early.state(0), late.state(0)])


def test_a_run_goes_on_with_the_threads_it_was_begun_with_wherever_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def there(cores: int, *seeds: int) -> Stack:
        monkeypatch.setattr("grokplane.train.process.cores", lambda: cores)
        members = [member(seed=seed, train=training(threads=None)) for seed in seeds]
        prepare_process(members)
        return Stack(members)

    state = saved(there(2, 0, 1).state(1))
    again = there(1, 1)
    assert torch.get_num_threads() == 1
    prepare_process(again.members, [state])
    assert torch.get_num_threads() == 2
    again.load_states([state])
    assert again.state(0)["threads"] == 2


PROCESS = """
import sys
import torch
from grokplane.train import Stack, prepare_process
from builders import member, training

def settings():
    cudnn = torch.backends.cudnn
    patched = hasattr(torch.optim.Optimizer.zero_grad.__wrapped__, "__dynamo_disable")
    return [torch.get_num_threads(), cudnn.allow_tf32, cudnn.deterministic, patched]

members = [member(train=training(threads=3))]
torch.set_num_threads(1)
assert settings() == [1, True, False, False], settings()
prepare_process(members)
assert settings() == [3, False, True, True], settings()
torch.set_num_threads(1)
torch.backends.cudnn.allow_tf32 = True
stack = Stack(members)
stack.load_states([stack.state(0) | {"threads": 2}])
assert settings() == [1, True, True, True], settings()
assert "torch._dynamo" not in sys.modules
"""


def test_a_stack_leaves_the_settings_of_the_process_to_prepare_process() -> None:
    place = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", PROCESS], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_checkpoint_of_a_version_with_other_streams_is_refused() -> None:
    old = {key: value for key, value in Stack([member(seed=3)]).state(0).items() if key != "streams"}
    with pytest.raises(ConfigError, match="seed=3: gives another split and other batches in this version"):
        Stack([member(seed=3)]).load_states([old])


def test_loading_the_first_state_starts_anew() -> None:
    other = Stack([member(seed=4)])
    other.load_states([Stack([member()]).state(0)])
    assert other.step == 0
    assert torch.equal(weights(other), weights(Stack([member()])))


DIFFERENT = {
    "data.p": {"data": task(p=5)},
    "data.split": {"data": task(split=OrderedSplit())},
    "model.hidden": {"model": MLP(hidden=[8, 9], embedding_dim=6)},
    "optimizer.betas": {"optimizer": AdamW(betas=[0.5, 0.9])},
    "optimizer": {"optimizer": Adam()},
    "loss": {"loss": MSE()},
    "train.batch_size": {"train": training(batch_size=3)},
    "log.every": {"log": replace(NEVER, every=5)},
    "metrics": {"metrics": {"loss": Loss()}},
}


@pytest.mark.parametrize("key", DIFFERENT)
def test_members_that_differ_in_another_key_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="members of one stack cannot differ in this key") as error:
        check_stackable([member(), member(seed=1), member(**DIFFERENT[key])])
    assert error.value.key == key


def test_a_stack_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one member"):
        Stack([])


def test_a_batch_larger_than_the_training_set_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^train.batch_size=25: must be full or 1 to 24"):
        Stack([member(train=training(batch_size=25))])


@pytest.mark.parametrize("name", ["cuda:99", "nowhere", "meta", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^train.device={name}: no such device here; allowed: cpu"):
        find_device(name)


def test_batch_size_takes_no_other_word() -> None:
    with pytest.raises(ConfigError, match=r"^train.batch_size=all: must be full or a whole number"):
        training(batch_size="all")


def test_resume_excludes_overwrite() -> None:
    with pytest.raises(ConfigError, match=r"^train.overwrite=true: excludes train.resume=true$"):
        training(resume=True, overwrite=True)


def test_checkpoints_are_due_at_powers_of_two_and_multiples():
    stack = Stack([member(train=training(steps=40, checkpoint_every=10))])
    assert [point.step for point in finish(stack) if point.checkpoint] == [1, 2, 4, 8, 10, 16, 20, 30, 32, 40]


def test_a_diverged_member_gets_no_marks():
    stack = Stack([member(grok=GrokOptions(threshold=0.01)), member(seed=1, grok=GrokOptions(threshold=0.01))])
    stack.alive[0] = False
    finish(stack)
    assert (stack.marks[0].train_step, stack.marks[1].train_step) == (None, 0)


def test_threads_leave_a_core_to_the_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grokplane.train.process.cores", lambda: 3)
    estimating = Information(workers=2)
    for mi, members, threads in ((Off(), 8, 3), (estimating, 8, 1), (Off(), 1, 1), (Off(), 2, 2)):
        prepare_process([member(seed=seed, mi=mi, train=training(threads=None)) for seed in range(members)])
        assert torch.get_num_threads() == threads
    prepare_process([member(mi=estimating, train=training(threads=2))])
    assert torch.get_num_threads() == 2


def test_a_member_lost_as_somebody_says_stop_has_its_last_row() -> None:
    lost = {"optimizer": SGD(lr=1e30), "loss": MSE(), "train": training(steps=1000)}
    alone = Stack([member(**lost)])
    rows = [point.records[0] for point in run(alone) if point.records]
    step = int(alone.diverged[0])
    assert 0 < step == rows[-1]["step"]
    stack = Stack([member(**lost), member(**(lost | {"optimizer": SGD(lr=0.1)}))])
    points = list(run(stack, lambda: bool(stack.diverged[0] >= 0)))
    assert points[-1].interrupted
    assert [point.records[0]["step"] for point in points if point.records and point.records[0]][-1] == step
    assert points[-2].finished == [True, False]
