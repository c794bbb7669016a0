"""A session leaves each member the folder that it would have had alone."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from grokplane import config
from grokplane.app import execute
from grokplane.app.member_writer import MemberWriter
from grokplane.app.progress import Preparation
from grokplane.app.resume import resumed_config
from grokplane.options import ConfigError
from grokplane.record import Checkpoints, read_summary
from grokplane.train import Point, Stack

TINY = [
    "data.p=7",
    "model.hidden=[8]",
    "model.embedding_dim=8",
    "train.threads=1",
    "train.steps=60",
    "train.dtype=float64",
]
QUIET = [*TINY, "record.wandb=disabled", "record.figures=false", "log.every=25", "log.dense_steps=3"]
WILD = "optimizer.lr=1e40"


def session(folder: Path, *members: list[str]) -> list[Path]:
    """Train members, given by their overrides, as one stack; their folders."""
    folders = [folder / str(number) for number in range(len(members))]
    execute([config.compose([*QUIET, *one]) for one in members], folders)
    return folders


def rows(folder: Path) -> list[dict]:
    """The rows of metrics.jsonl without wall-clock figures."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith("time/")} for line in lines]


def told(folder: Path) -> dict:
    """What the summary says of the run itself."""
    summary = read_summary(folder)
    return {key: summary[key] for key in ("status", "steps", "diverged", "grok")}


def rounded(found: list[dict]) -> list[dict]:
    """Rows to ten digits: a stack's sums run in another order."""
    return [{key: value and float(f"{value:.9e}") for key, value in row.items()} for row in found]


@pytest.mark.parametrize("batch", ["full", "5"])
def test_a_diverged_member_leaves_what_it_would_have_left_alone(tmp_path: Path, batch: str):
    common = ["optimizer=sgd", "schedule=linear_warmup", f"train.batch_size={batch}", "loss=mse"]
    calm, wild = [*common, "optimizer.lr=0.1", "seed=1"], [*common, WILD]
    (alone,) = session(tmp_path / "alone", wild)
    stacked = session(tmp_path / "stack", calm, wild)[1]
    assert told(alone) == told(stacked)
    assert told(alone)["status"] == "diverged"
    assert told(alone)["steps"] == told(alone)["diverged"] > 0
    assert [row["step"] for row in rows(alone)] == [row["step"] for row in rows(stacked)]
    assert rounded(rows(alone)) == rounded(rows(stacked))
    assert Checkpoints(alone).steps() == Checkpoints(stacked).steps()
    assert Checkpoints(alone).latest().step == told(alone)["diverged"]


def test_a_member_lost_between_log_points_has_a_row_of_its_last_state(tmp_path: Path):
    wild = ["optimizer=sgd", "loss=mse", "optimizer.lr=1e12", "log.dense_steps=1"]
    folders = session(tmp_path, ["optimizer=sgd", "loss=mse", "optimizer.lr=0.1", "log.dense_steps=1"], wild)
    lost = told(folders[1])["diverged"]
    assert 1 < lost < 25
    assert [row["step"] for row in rows(folders[1])] == [0, lost]
    assert [row["step"] for row in rows(folders[0])] == [0, 25, 50, 60]
    assert all(torch.isfinite(value).all() for value in Checkpoints(folders[0]).latest().state["model"].values())


def test_a_loss_lost_in_the_last_update_is_a_divergence(tmp_path: Path):
    (folder,) = session(tmp_path, ["optimizer=sgd", "optimizer.lr=1e300", "loss=mse", "train.steps=1"])
    assert rows(folder)[-1]["Loss/train"] is None
    assert (told(folder)["status"], told(folder)["diverged"]) == ("diverged", 1)


def test_held_out_labels_are_not_even_noise():
    options = ["data/split=label_holdout", "data.train_fraction=null", "data.split.below=3", "data.label_noise=0.5"]
    examples = config.member(config.compose([*TINY, *options])).data.examples(seed=0)
    assert (examples.train_targets != examples.table.targets[examples.train]).sum() == len(examples.train) // 2
    assert int(examples.train_targets.min()) >= 3


def test_a_late_checkpoint_has_the_step_and_the_marks_of_its_state():
    kept: list[tuple[int, dict]] = []

    class Keeper:
        def checkpoint(self, step: int, state: dict, regular: bool, grok: dict) -> None:
            assert regular
            assert state["step"] == step
            kept.append((step, grok))

    stack = Stack([config.member(config.compose(TINY))])
    before = stack.state(0) | {"step": 5}
    stack.marks[0].train_step = 9
    writer = MemberWriter(stack, 0, Keeper(), {})  # type: ignore[arg-type]
    writer.take(Point(12, lambda number: [before][number], checkpoint=True))
    ((step, grok),) = kept
    assert (step, grok["train_step"], grok["threshold"]) == (5, None, 0.99)


def test_the_summary_of_a_running_run_holds_its_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[dict] = []
    original = Checkpoints.save

    def spy(self: Checkpoints, *args, **kwargs):
        seen.append(read_summary(self.folder.parent))
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Checkpoints, "save", spy)
    session(tmp_path, ["grok.threshold=0.3", "train.steps=300"])
    assert all(summary["status"] == "running" for summary in seen)
    marks = {"train_step": None, "test_step": None, "delay": None}
    assert seen[0]["grok"].items() >= (marks | {"threshold": 0.3, "questions": "test", "stable_step": None}).items()
    assert seen[-1]["grok"]["train_step"] is not None


def test_sessions_of_one_process_each_go_on_where_the_last_one_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    loaded: list[int] = []
    original = Stack.load_states

    def spy(self: Stack, states: Sequence[Mapping[str, Any]]) -> None:
        original(self, states)
        loaded.append(self.step)

    monkeypatch.setattr(Stack, "load_states", spy)
    session(tmp_path, [])
    for steps in (80, 100):
        session(tmp_path, ["train.resume=true", f"train.steps={steps}"])
    assert loaded == [60, 80]
    (whole,) = session(tmp_path / "whole", ["train.steps=100"])
    ours, theirs = (Checkpoints(folder).latest().state["model"] for folder in (tmp_path / "0", whole))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize("typed", ["[]", "[sam]", "[update_noise,constant_norm,sam]"])
def test_a_resume_with_other_rules_or_another_order_is_refused(tmp_path: Path, typed: str):
    (folder,) = session(tmp_path, ["rules=[sam,update_noise,constant_norm]", "train.steps=2"])
    overrides = ["train.resume=true", f"rules={typed}"]
    with pytest.raises(ConfigError) as found:
        resumed_config(folder, config.compose(overrides), overrides, "train")
    assert f"rules={typed} (the run: [sam,update_noise,constant_norm])" in str(found.value)
    same = ["train.resume=true", "rules=[sam,update_noise,constant_norm]"]
    assert list(resumed_config(folder, config.compose(same), same, "train").rules) == list(config.compose(same).rules)


def test_a_stop_while_the_code_of_images_is_fitted_leaves_a_run_that_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    typed = ["train.steps=3", "train.threads=1", "mi=compressed", "mi.code_steps=20", "log.dense_steps=1"]
    typed.append(f"mi.cache={tmp_path}/codes")
    images = ["data=digits", "data.train_points=60", "data.test_points=40", "train.batch_size=20", *typed]
    quiet = ["record.wandb=disabled", "record.figures=false"]
    with monkeypatch.context() as patched:
        patched.setattr(Preparation, "show", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        outcome = execute([config.compose([*images, *quiet], "train_mnist")], [tmp_path / "run"])
    assert outcome.exit_code == 128 + signal.SIGTERM
    assert (outcome.summaries[0]["status"], outcome.summaries[0]["steps"]) == ("interrupted", 0)
    resumed = execute([config.compose([*images, *quiet, "train.resume=true"], "train_mnist")], [tmp_path / "run"])
    assert (resumed.exit_code, resumed.summaries[0]["status"]) == (0, "finished")
    assert [row["step"] for row in rows(tmp_path / "run")] == [0, 3]
