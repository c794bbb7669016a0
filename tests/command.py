"""The real command line in subprocesses: calls, background calls, and their files."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import torch
from forking import Forked

TRAIN = Path(__file__).parents[1] / "train.py"
PROCESSES = 2
TINY = ("data.p=7", "data.train_fraction=0.5", "model.hidden=[8]", "model.embedding_dim=8", "train.threads=1")
QUIET = ("record.figures=false", "record.wandb=disabled")
PRECISE = (*QUIET, "mi=off", "train.threads=1", "train.dtype=float64", "log.every=1000")

Call = subprocess.CompletedProcess[str]
Submit = Callable[..., Future[Any]]
Inside = Callable[..., Call]
Forget = Callable[..., None]  # of the fixture `forget`


@contextmanager
def _started(
    arguments: tuple[str, ...], cwd: Path, program: str = TRAIN.name, **environment: str
) -> Iterator[subprocess.Popen[str] | Forked]:
    """The running call, killed if the block ends first.

    It is forked from a process that has imported torch, unless its environment matters to an interpreter that starts.
    """
    fonts = matplotlib.get_cachedir()  # searching for fonts for every HOME takes seconds
    own = {"HOME": str(cwd), "MPLCONFIGDIR": fonts, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "HYDRA_"))}
    typed, env = [str(TRAIN.with_name(program)), *arguments], kept | own | environment
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    anew = any(not name.startswith(("WANDB_", "HYDRA_", "GROKPLANE_")) for name in environment)
    started = (
        subprocess.Popen([sys.executable, *typed], cwd=cwd, env=env, text=True, **streams)
        if anew
        else Forked(typed, cwd, env)
    )
    with started as process:
        try:
            yield process
        finally:
            process.kill()


def call(*arguments: str, cwd: Path, program: str = TRAIN.name, **environment: str) -> Call:
    """Run `python PROGRAM ARGUMENTS` in a folder, which is also its HOME, to its end."""
    with _started(arguments, cwd, program, **environment) as process:
        out, err = process.communicate(timeout=180)
    return Call(list(arguments), process.returncode, out, without_waiting(err))


def without_waiting(text: str) -> str:
    """Standard error without the lines that a slow machine adds: `checking the call (20 s)`."""
    return re.sub(r"(?m)^[^:\n]+ \(\d+ s\)\n", "", text)


def finished(*arguments: str, cwd: Path, program: str = TRAIN.name, **environment: str) -> Call:
    """Run a call that must succeed."""
    done = call(*arguments, cwd=cwd, program=program, **environment)
    assert done.returncode == 0, done.stderr
    return done


def ended_well(inside: Inside, *typed: str, cwd: Path, program: str = TRAIN.name) -> Call:
    """Run a call in this process that must succeed."""
    done = inside(*typed, cwd=cwd, program=program)
    assert done.returncode == 0, done.stderr
    return done


def struck(number: signal.Signals, at: int, folder: Path, *arguments: str, cwd: Path) -> Call:
    """A call that gets a signal as soon as its `metrics.jsonl` has a row of step `at` or later."""
    where = () if "-m" in arguments else (f"hydra.run.dir={folder}",)  # a multirun has named its own
    with _started((*arguments, *where), cwd) as process:
        while last_step(folder) < at:
            assert process.poll() is None, f"it ended before step {at}: {process.communicate()}"
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    return Call(list(arguments), process.returncode, out, err)


@contextmanager
def background() -> Iterator[Submit]:
    """The `submit` of a pool with PROCESSES workers; calls that have not begun are cancelled at the end."""
    pool = ThreadPoolExecutor(PROCESSES)
    try:
        yield pool.submit
    finally:
        pool.shutdown(cancel_futures=True)


def refusal(done: Call) -> str:
    """The one line with which a call was refused."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.rstrip("\n")


def digest(folder: Path) -> dict[str, str]:
    """The hash of every file under a folder, and an empty hash for every folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
    }


def last_step(folder: Path) -> int:
    """The step of the last complete row recorded so far; -1 if there is none."""
    try:
        lines = (folder / "metrics.jsonl").read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return -1
    return json.loads(lines[-1])["step"] if lines else -1


def rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl` without wall-clock values."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if not key.startswith("time/")} for line in lines]


def summary(folder: Path) -> dict[str, Any]:
    """The run's `summary.json`."""
    return json.loads((folder / "summary.json").read_text())


def last_checkpoint(folder: Path) -> Path:
    """The run's newest checkpoint."""
    return max((folder / "checkpoints").glob("step_*.pt"))


def state(folder: Path) -> dict[str, Any]:
    """The training state in the newest checkpoint: everything but the config."""
    saved = torch.load(last_checkpoint(folder), weights_only=True)
    return {key: value for key, value in saved.items() if key != "config"}


def assert_same_state(one: Any, other: Any) -> None:
    """Assert that two states are equal to the last bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same_state(one[key], other[key])
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    else:
        assert one == other
