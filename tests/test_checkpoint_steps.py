"""Which checkpoints a run leaves, by `train.keep_checkpoints`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from builders import member, training
from command import PRECISE, Inside, assert_same_state, state

from grokplane import config
from grokplane.app import execute
from grokplane.options import ConfigError
from grokplane.record import Checkpoints
from grokplane.train import LogOptions, Stack, run
from grokplane.train.checkpoint_steps import CheckpointSteps

TINY = (*PRECISE, "data.p=7", "model.hidden=[8]", "train.steps=40", "train.checkpoint_every=6", "log.every=9")
POWERS = {1, 2, 4, 8, 16, 32}
SERIES = {0, 1, 2, 3, 6, 10, 18, 32}  # 10^(k/4), rounded


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ("1", POWERS | {36, 40}),
        ("3", POWERS | {24, 30, 36, 40}),
        ("all", POWERS | {6, 12, 18, 24, 30, 36, 40}),
        ("log_points", POWERS | {0, 1, 2, 9, 18, 27, 36, 30, 24, 40}),
        ("4/decade", POWERS | SERIES | {30, 36, 40}),
    ],
)
def test_which_stay(tmp_path: Path, keep: str, left: set[int]):
    one = config.compose([*TINY, "log.dense_steps=3", f"train.keep_checkpoints={keep}"])
    execute([one], [tmp_path])
    assert Checkpoints(tmp_path).steps() == sorted(left)
    for step in left:
        assert torch.load(Checkpoints(tmp_path).path(step), weights_only=True)["step"] == step


@pytest.mark.parametrize("keep", [2, "all", "log_points", "3/decade"])
def test_the_next_one_is_the_first_that_is_due(keep: int | str):
    steps = CheckpointSteps(7, keep, LogOptions(dense_steps=4, every=11))
    for step in range(200):
        assert steps.next_after(step) == next(later for later in range(step + 1, 400) if steps.due(later))


@pytest.mark.parametrize("keep", ["every", "0/decade", "8 / decade", "-1", "0", "1.5"])
def test_other_values_are_refused(keep: str):
    with pytest.raises(ConfigError, match=r"^train.keep_checkpoints="):
        config.member(config.compose([*TINY, f"train.keep_checkpoints='{keep}'"]))
    with pytest.raises(ConfigError, match=r"^train.keep_checkpoints=8/decades: must be .*8/decade$"):
        training(keep_checkpoints="8/decades")


def test_the_run_is_the_same_however_many_stay(tmp_path: Path):
    for keep in ("2", "log_points"):
        execute([config.compose([*TINY, f"train.keep_checkpoints={keep}"])], [tmp_path / keep])
    assert_same_state(state(tmp_path / "2"), state(tmp_path / "log_points"))


def test_members_leave_the_stack_at_the_same_steps_however_many_stay():
    """Checkpoints of a series move nobody's round-off."""
    left = []
    for keep in (2, "log_points"):
        options = training(steps=60, keep_checkpoints=keep, checkpoint_every=50)
        log = LogOptions(dense_steps=0, every=5)
        members = [member(seed=seed, train=options, log=log) for seed in range(2)]
        stack = Stack(members)
        for point in run(stack):
            if point.step == 35:
                stack.alive[0] = False
            if len(stack.rows) == 1:
                left.append(point.step)
                break
    assert left == [left[0]] * 2


def test_a_resumed_run_may_keep_more(tmp_path: Path, inside: Inside):
    execute([config.compose([*TINY, "train.steps=14"])], [tmp_path / "run"])
    typed = ("train.resume=true", "train.steps=40", "train.keep_checkpoints=all", "record.figures=false")
    call = inside("hydra.run.dir=run", *typed, cwd=tmp_path)
    assert call.returncode == 0, call.stderr
    assert Checkpoints(tmp_path / "run").steps() == sorted(POWERS | {6, 12, 14, 18, 24, 30, 36, 40})
