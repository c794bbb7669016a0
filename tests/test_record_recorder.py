import errno
import json
import math
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grokplane.options import ConfigError
from grokplane.record import (
    Checkpoints,
    FolderBusy,
    FolderTaken,
    Record,
    Recorder,
    check_folder,
    is_locked,
    read_summary,
    status,
)
from grokplane.record.rows import read_rows
from grokplane.record.summary import config_hash

CONFIG = {"seed": 0, "optimizer": {"lr": 1e-3}}
PLAIN = Record(wandb="disabled")


def record_run(folder: Path, steps: range, **options) -> dict:
    with Recorder(folder, CONFIG, PLAIN, **options) as recorder:
        for step in steps:
            recorder.log({"step": step, "Loss/train": abs(step - 3) + 1.0, "Acc/test": step / 10, "WN/total": 5.0})
        recorder.checkpoint(steps[-1] + 1, {"step": steps[-1] + 1})
        return recorder.finish("finished", grok={"train_step": 1, "test_step": None, "delay": None, "threshold": 0.99})


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_finished_run(tmp_path):
    summary = record_run(tmp_path / "run", range(6), extra={"threads": 2, "device": "cpu"})
    assert summary == json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == status(tmp_path / "run") == "finished"
    assert summary["steps"] == 6
    assert summary["last"] == {"step": 5, "Loss/train": 3.0, "Acc/test": 0.5, "WN/total": 5.0}
    assert summary["best"] == {"Loss/train": {"value": 1.0, "step": 3}, "Acc/test": {"value": 0.5, "step": 5}}
    assert summary["grok"] == {"train_step": 1, "test_step": None, "delay": None, "threshold": 0.99}
    assert summary["diverged"] is None
    assert summary["threads"] == 2
    assert summary["steps_per_second"] == pytest.approx(6 / summary["wall_seconds"])
    packages = {"python", "torch", "numpy", "hydra-core", "omegaconf", "wandb", "grokplane"}
    assert set(summary["versions"]) == packages
    assert summary["versions"]["torch"].startswith("2.")
    assert summary["config_hash"] == config_hash({"optimizer": {"lr": 0.001}, "seed": 0})
    assert not (tmp_path / "run" / "wandb").exists()


def test_the_config_hash_ignores_order_and_sees_values():
    assert config_hash({"a": 1, "b": {"c": 2}}) == config_hash({"b": {"c": 2}, "a": 1})
    assert config_hash({"a": 1}) != config_hash({"a": 2})


def test_values_that_are_not_finite_are_never_best(tmp_path):
    with Recorder(tmp_path, CONFIG, PLAIN) as recorder:
        for step, loss in enumerate([math.nan, 2.0, -math.inf, math.nan]):
            recorder.log({"step": step, "Loss/train": loss})
        summary = recorder.finish("diverged", diverged=2)
    assert summary["best"]["Loss/train"] == {"value": 2.0, "step": 1}
    assert summary["last"]["Loss/train"] is None
    assert (summary["status"], summary["diverged"], summary["steps"]) == ("diverged", 2, 3)


def test_running_while_open_and_failed_after_an_exception(tmp_path):
    recorder = Recorder(tmp_path, CONFIG, PLAIN)
    assert status(tmp_path) == read_summary(tmp_path)["status"] == "running"
    with pytest.raises(KeyError, match="step"), recorder:
        recorder.log({"Loss/train": 1.0})
    assert status(tmp_path) == "failed"
    assert not is_locked(tmp_path)
    with pytest.raises(KeyboardInterrupt), Recorder(tmp_path / "b", CONFIG, PLAIN):
        raise KeyboardInterrupt
    assert status(tmp_path / "b") == "interrupted"


def test_status_words(tmp_path):
    assert status(tmp_path) == status(tmp_path / "absent") == "empty"
    (tmp_path / "metrics.jsonl").touch()
    assert status(tmp_path) == "dead"
    (tmp_path / "summary.json").write_text('{"status": "running"}')
    assert status(tmp_path) == "dead"


def test_finishing_twice_changes_nothing_and_words_are_checked(tmp_path):
    recorder = Recorder(tmp_path, CONFIG, PLAIN)
    with pytest.raises(ValueError, match="status 'running'"):
        recorder.finish("running")
    first = recorder.finish("interrupted", step=17)
    assert first["steps"] == 17
    assert recorder.finish("failed") == first


def test_a_folder_with_a_run_is_refused_and_left_as_it_was(tmp_path):
    record_run(tmp_path, range(3))
    before = contents(tmp_path)
    with pytest.raises(FolderTaken, match=r"train.overwrite=true or train.resume=true") as refusal:
        Recorder(tmp_path, CONFIG, PLAIN)
    assert isinstance(refusal.value, ConfigError)
    assert str(tmp_path) in str(refusal.value)
    assert contents(tmp_path) == before


def test_a_folder_in_use_is_refused_whatever_is_asked(tmp_path):
    recorder = Recorder(tmp_path, CONFIG, PLAIN)
    before = contents(tmp_path)
    with pytest.raises(FolderBusy):
        check_folder(tmp_path, overwrite=True, resume=True)
    with pytest.raises(FolderBusy):
        Recorder(tmp_path, CONFIG, PLAIN, overwrite=True)
    with pytest.raises(FolderBusy):
        Recorder(tmp_path, CONFIG, PLAIN, resume_step=0)
    assert contents(tmp_path) == before
    recorder.finish("finished")


def test_overwriting_deletes_the_old_run_only(tmp_path):
    record_run(tmp_path, range(9))
    for name in ("figures/a.png", "wandb/x/y", ".hydra/config.yaml", "train.log", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    old = read_summary(tmp_path)["wandb_id"]
    summary = record_run(tmp_path, range(2), overwrite=True)
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [0, 1]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000002.pt"]
    assert summary["wandb_id"] != old
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left >= {".hydra/config.yaml", "train.log", "notes.txt"}
    assert not left & {"figures/a.png", "wandb/x/y"}


def test_resuming_goes_on_from_the_kept_rows(tmp_path):
    whole = record_run(tmp_path / "whole", range(10))
    first = record_run(tmp_path / "killed", range(7))
    summary_path = tmp_path / "killed" / "summary.json"
    summary_path.write_text(json.dumps(first | {"wall_seconds": 100.0, "status": "running"}))
    second = record_run(tmp_path / "killed", range(2, 10), resume_step=2)
    same = ("steps", "last", "best", "config_hash")
    assert {key: second[key] for key in same} == {key: whole[key] for key in same}
    rows = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "killed")]
    assert rows[0] == rows[1]
    assert second["wandb_id"] == first["wandb_id"]
    assert 100 < second["wall_seconds"] < 160


def test_resuming_forgets_bests_after_the_checkpoint(tmp_path):
    record_run(tmp_path, range(7))
    recorder = Recorder(tmp_path, CONFIG, PLAIN, resume_step=2)
    summary = recorder.finish("interrupted")
    assert summary["best"]["Loss/train"] == {"value": 3.0, "step": 1}
    assert (summary["last"]["step"], summary["steps"]) == (1, 2)


LOOP = """
import sys
from pathlib import Path
import torch
from grokplane.record import Checkpoints, NoCheckpoint, Record, Recorder
folder, steps = Path(sys.argv[1]), int(sys.argv[2])
try:
    step, state = Checkpoints(folder).latest()
except NoCheckpoint:
    step, state = 0, {"sum": torch.zeros(20_000, dtype=torch.int64)}
print(step, flush=True)
with Recorder(folder, {}, Record(wandb="disabled"), resume_step=step) as recorder:
    for now in range(step, steps):
        recorder.log({"step": now, "Loss/train": 1 / (now + 1), **{f"WN/{i}": float(now) for i in range(50)}})
        state = {"sum": state["sum"] + now}
        recorder.checkpoint(now + 1, state)
    recorder.finish("finished")
"""


def start_loop(folder: Path, steps: int) -> tuple[subprocess.Popen, int]:
    process = subprocess.Popen([sys.executable, "-c", LOOP, str(folder), str(steps)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = int(process.stdout.readline())
    process.stdout.close()
    return process, first


def await_checkpoint_after(folder: Path, step: int) -> None:
    deadline = time.monotonic() + 60
    while max(Checkpoints(folder).steps(), default=0) <= step + 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_kill_9_at_any_moment_leaves_all_of_it_readable(tmp_path):
    delays = random.Random(0)
    reached = 0
    for _ in range(3):
        process, first = start_loop(tmp_path, 1_000_000)
        assert first == reached
        await_checkpoint_after(tmp_path, first)
        time.sleep(delays.uniform(0.0, 0.3))
        assert status(tmp_path) == "running"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert status(tmp_path) == "dead"
        reached, state = Checkpoints(tmp_path).latest()
        assert state["sum"][0] == reached * (reached - 1) // 2
        steps = [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")]
        assert steps == list(range(len(steps)))
        assert len(steps) >= reached > first
    process, first = start_loop(tmp_path, reached + 5)
    assert process.wait() == 0
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == list(range(reached + 5))
    assert read_summary(tmp_path)["steps"] == reached + 5


def test_a_run_that_fails_keeps_its_marks(tmp_path):
    marks = {"train_step": 1, "test_step": None, "delay": None, "threshold": 0.99}
    recorder = Recorder(tmp_path, CONFIG, PLAIN)
    recorder.checkpoint(2, {"step": 2}, grok=marks)
    with pytest.raises(KeyError, match="step"), recorder:
        recorder.log({"Loss/train": 1.0})
    assert (read_summary(tmp_path)["status"], read_summary(tmp_path)["grok"]) == ("failed", marks)


def test_an_end_that_cannot_be_written_lets_go_of_the_folder(tmp_path, monkeypatch):
    recorder = Recorder(tmp_path, CONFIG, PLAIN)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr("grokplane.record.recorder.write_summary", full)
    with pytest.raises(OSError, match="no space"):
        recorder.finish("finished")
    assert not is_locked(tmp_path)
    with pytest.raises(OSError, match="no space"):
        Recorder(tmp_path, CONFIG, PLAIN, overwrite=True)
    assert not is_locked(tmp_path)
