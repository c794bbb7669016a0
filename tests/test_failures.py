"""A failed run records its error: `summary.json` has it in one line, `train.log` has the traceback."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from command import PRECISE, Inside, call, last_checkpoint, summary
from sweeping import sweep_file, table

from grokplane import config
from grokplane.app import execute
from grokplane.record import Checkpoints, Record, Recorder, status
from grokplane.record.summary import cause
from grokplane.train import Stack

FULL = "the disk is full (No space left on device): free some space and resume with train.resume=true"
TINY = ("data.p=7", "data.train_fraction=0.5", "model.hidden=[8]", "model.embedding_dim=8", *PRECISE)
# A process whose files may grow only to this many bytes, as on a full disk; it writes no .pyc.
LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, resource.RLIM_INFINITY))
"""


def limited(folder: Path, size: int) -> dict[str, str]:
    """The environment of such a process."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(LIMITED.format(size=size))
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def test_a_full_disk(tmp_path: Path, inside: Inside) -> None:
    typed = (*TINY, "log.every=1", "train.steps=600", "metrics=[loss]", "train.checkpoint_every=100000")
    done = call(*typed, f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path, **limited(tmp_path / "site", 30_000))
    assert done.returncode == 1
    assert "OSError: [Errno 27] File too large: the run failed" in done.stderr
    told = summary(tmp_path / "run")
    assert (told["status"], told["error"]) == ("failed", "OSError: [Errno 27] File too large")
    log = (tmp_path / "run" / "train.log").read_text()
    assert "Traceback (most recent call last)" in log
    assert "in append" in log
    lines = (tmp_path / "run" / "metrics.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["step"] for line in lines[:-1]] == list(range(len(lines) - 1))
    done = inside(f"hydra.run.dir={tmp_path / 'run'}", "train.resume=true", cwd=tmp_path)
    assert (done.returncode, summary(tmp_path / "run")["status"]) == (0, "finished")
    assert "error" not in summary(tmp_path / "run")


@pytest.mark.parametrize("refused", [1, 2])
def test_no_room_for_the_summary_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    recorder = Recorder(tmp_path, {}, Record(wandb="disabled"))
    recorder.log({"step": 3, "Loss/train": 1.0})
    from grokplane.record import summary as room

    original, calls = room.write_text, list[Path]()

    def full(path: Path, text: str) -> None:
        calls.append(path)
        if len(calls) <= refused:
            raise OSError(28, "No space left on device")
        original(path, text)

    monkeypatch.setattr(room, "write_text", full)
    with pytest.raises(MemoryError), recorder:
        raise MemoryError
    told = summary(tmp_path)
    assert (told["status"], told["error"], told["steps"]) == ("failed", "MemoryError", 3)
    assert status(tmp_path) == "failed"


def test_a_run_whose_end_cannot_be_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path, {}, Record(wandb="disabled"))
    from grokplane.record import summary as room

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(room, "write_text", full)
        with pytest.raises(OSError, match="No space left"), recorder:
            recorder.finish("finished")
    assert (summary(tmp_path)["status"], summary(tmp_path)["error"]) == (
        "failed",
        FULL,
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_called_that_whatever_error_it_ends_in(number: int) -> None:
    with pytest.raises(OSError, match="No space left") as plain, open("/dev/full", "wb", buffering=0) as file:
        torch.save({"weights": torch.zeros(100_000)}, file)
    assert cause(plain.value) == FULL
    chained = RuntimeError("writer failed")
    chained.__context__ = OSError(number, os.strerror(number))
    assert cause(chained) == FULL.replace("No space left on device", os.strerror(number))
    assert cause(OSError(errno.EIO, "Input/output error")) == "OSError: [Errno 5] Input/output error"


def test_every_member_of_a_session_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(100))
    original = Stack.state

    def state(self: Stack, member: int) -> dict:
        if next(calls) > 5:
            raise RuntimeError("CUDA out of memory.\nTried to allocate")
        return original(self, member)

    monkeypatch.setattr(Stack, "state", state)
    made = [config.compose([*TINY, "train.steps=200", f"seed={seed}"]) for seed in range(2)]
    with pytest.raises(RuntimeError):
        execute(made, [tmp_path / "0", tmp_path / "1"])
    for name in ("0", "1"):
        told = summary(tmp_path / name)
        assert (told["status"], told["error"]) == ("failed", "RuntimeError: CUDA out of memory. Tried to allocate")


@pytest.mark.parametrize("multirun", [False, True])
def test_a_failure_before_anything_is_recorded(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch, multirun: bool
) -> None:
    original, built = Stack.__init__, list[int]()

    def build(self: Stack, members: object) -> None:
        built.append(1)
        if len(built) > 1:  # the first one is the check before the folder is made
            raise MemoryError("no room")
        original(self, members)  # type: ignore[arg-type]

    monkeypatch.setattr(Stack, "__init__", build)
    folder = tmp_path / "run"
    where = [f"hydra.sweep.dir={tmp_path}", "hydra.sweep.subdir=run"] if multirun else [f"hydra.run.dir={folder}"]
    done = inside(*(["-m"] if multirun else []), *TINY, "train.steps=5", *where, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "MemoryError: no room: the run failed" in done.stderr
    assert (summary(folder)["status"], summary(folder)["error"]) == ("failed", "MemoryError: no room")
    assert "Traceback (most recent call last)" in (folder / "train.log").read_text()


@pytest.mark.parametrize("status", ["failed", "finished"])
def test_a_run_that_is_taken_up_and_fails_at_once_says_so(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    where = f"hydra.run.dir={tmp_path / 'run'}"
    assert inside(*TINY, "train.steps=5", where, cwd=tmp_path).returncode == 0
    whole = summary(tmp_path / "run")
    earlier = whole | ({} if status == "finished" else {"status": status, "error": "MemoryError: an earlier one"})
    (tmp_path / "run" / "summary.json").write_text(json.dumps(earlier))
    original, built = Stack.__init__, list[int]()

    def build(self: Stack, members: object) -> None:
        built.append(1)
        if len(built) > 1:  # the first one is the check before anything is written
            raise RuntimeError("another one")
        original(self, members)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Stack, "__init__", build)
        assert inside("train.resume=true", "train.steps=9", where, cwd=tmp_path).returncode == 1
    told = summary(tmp_path / "run")
    assert (told["status"], told["error"]) == ("failed", "RuntimeError: another one")
    assert (told["steps"], told["last"]) == (whole["steps"], whole["last"])
    assert inside("train.resume=true", "train.steps=9", where, cwd=tmp_path).returncode == 0
    assert summary(tmp_path / "run")["status"] == "finished"


def test_a_cell_says_why_and_so_does_the_table(tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Checkpoints.save

    def save(self: Checkpoints, step: int, *others: object, **named: bool) -> Path:
        if self.folder.parent.name == "seed=1":
            raise OSError(28, "No space left on device")
        return original(self, step, *others, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Checkpoints, "save", save)
    file = sweep_file(tmp_path, parameters={"seed": {"values": [0, 1]}})
    done = inside(
        str(file), f"hydra.sweep.dir={tmp_path / 'sweep'}", "--max-members=2", cwd=tmp_path, program="sweep.py"
    )
    line = FULL
    assert done.returncode == 1
    assert f"seed=1: failed, {line}" in done.stdout
    assert table(tmp_path / "sweep")["seed=1"]["error"] == line
    assert "Traceback (most recent call last)" in (tmp_path / "sweep" / "seed=1" / "train.log").read_text()
    assert table(tmp_path / "sweep")["seed=0"]["status"] == "finished"
    assert last_checkpoint(tmp_path / "sweep" / "seed=0").exists()
