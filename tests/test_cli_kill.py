"""Runs that are killed or stopped and then resumed end as uninterrupted runs; so do runs that log less."""

from __future__ import annotations

import random
import signal
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from command import (
    QUIET,
    TINY,
    Call,
    Submit,
    assert_same_state,
    call,
    finished,
    last_step,
    rows,
    state,
    struck,
    summary,
)

from grokplane.record import Arrays, load_arrays

STEPS = 500
LONG = (*TINY, *QUIET, f"train.steps={STEPS}", "train.checkpoint_every=50", "log.dense_steps=5", "log.every=10")
ARRAYS = ("metrics=[loss,accuracy,weight_norms,spectrum]", "metrics.weight_norms.every=3")
SETTINGS = {
    "full batch": (*LONG, "mi=off"),
    "minibatches": (*LONG, "experiment=enerrio", "data.p=11", "train.batch_size=16", "schedule=linear_warmup", *ARRAYS),
}


@pytest.fixture(scope="module", autouse=True)
def undisturbed(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Path]]:
    """The uninterrupted run of each setting."""
    return {name: submit(_run, tmp_path_factory.mktemp("whole"), *typed) for name, typed in SETTINGS.items()}


@pytest.fixture(scope="module", autouse=True)
def killed(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Path]]:
    """The run of each setting, killed three times."""
    return {
        name: submit(_killed_three_times, tmp_path_factory.mktemp("killed"), seed, *typed)
        for seed, (name, typed) in enumerate(SETTINGS.items())
    }


@pytest.fixture(scope="module", autouse=True)
def stopped(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> Future[tuple[Path, list[Call]]]:
    return submit(_stopped_twice, tmp_path_factory.mktemp("stopped"), *SETTINGS["full batch"])


@pytest.fixture(scope="module", autouse=True)
def logged(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Path]]:
    """The full-batch run, logged at every step and almost never, with and without W&B."""
    ways = {
        "every step": ("log.every=1", "record.wandb=offline"),
        "never": ("log.dense_steps=0", "log.every=100000", "train.checkpoint_every=100000", "metrics=[]"),
    }
    return {
        name: submit(_run, tmp_path_factory.mktemp("logged"), *SETTINGS["full batch"], *typed)
        for name, typed in ways.items()
    }


def _run(cwd: Path, *typed: str) -> Path:
    finished(*typed, "hydra.run.dir=run", cwd=cwd)
    return cwd / "run"


def _killed_three_times(cwd: Path, seed: int, *typed: str) -> Path:
    """The first call starts, the next two resume; each is killed at a later random step; the last one ends."""
    folder = cwd / "run"
    for at in sorted(random.Random(seed).sample(range(1, STEPS * 3 // 4), 3)):
        done = struck(signal.SIGKILL, at, folder, *typed, cwd=cwd)
        assert done.returncode == -signal.SIGKILL
        assert at <= last_step(folder) < STEPS
        assert summary(folder)["status"] == "running"
        for found in _arrays(folder).values():  # also of a dead run, whose last array may be torn
            assert last_step(folder) - 10 <= found.steps[-1]
        typed = ("train.resume=true",)
    finished(*typed, f"hydra.run.dir={folder}", cwd=cwd)
    return folder


def _stopped_twice(cwd: Path, *typed: str) -> tuple[Path, list[Call]]:
    """SIGTERM, resumed and Ctrl-C, resumed to the end."""
    folder, resume = cwd / "run", "train.resume=true"
    calls = [struck(signal.SIGTERM, 100, folder, *typed, cwd=cwd)]
    assert summary(folder)["status"] == "interrupted"
    assert summary(folder)["steps"] == state(folder)["step"] < STEPS
    calls.append(struck(signal.SIGINT, 300, folder, resume, cwd=cwd))
    assert summary(folder)["status"] == "interrupted"
    calls.append(call(resume, f"hydra.run.dir={folder}", cwd=cwd))
    return folder, calls


def _arrays(folder: Path) -> dict[str, Arrays]:
    return load_arrays(folder, "spectrum") if (folder / "arrays").exists() else {}


def _assert_same_run(one: Path, other: Path) -> None:
    assert state(one)["step"] == STEPS
    assert_same_state(state(one), state(other))
    assert rows(one) == rows(other)
    ours, theirs = _arrays(one), _arrays(other)
    assert ours.keys() == theirs.keys()
    for name, found in ours.items():
        assert found.steps.tolist() == [row["step"] for row in rows(one)]
        assert np.array_equal(found.steps, theirs[name].steps)
        assert np.array_equal(found.values, theirs[name].values)
    for key in ("status", "steps", "grok", "best", "diverged", "config_hash"):
        assert summary(one)[key] == summary(other)[key], key


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_killed_three_times_ends_as_one_that_never_was(
    name: str, undisturbed: dict[str, Future[Path]], killed: dict[str, Future[Path]]
) -> None:
    _assert_same_run(killed[name].result(), undisturbed[name].result())
    assert bool(_arrays(killed[name].result())) == (name == "minibatches")


def test_sigterm_and_ctrl_c_end_in_a_checkpoint_to_resume_from(
    stopped: Future[tuple[Path, list[Call]]], undisturbed: dict[str, Future[Path]]
) -> None:
    folder, calls = stopped.result()
    assert [done.returncode for done in calls] == [143, 130, 0]
    for done in calls:
        assert "Traceback" not in done.stderr
    assert "interrupted at step" in calls[0].stdout
    _assert_same_run(folder, undisturbed["full batch"].result())


@pytest.mark.parametrize("way", ["every step", "never"])
def test_logging_does_not_disturb(
    way: str, logged: dict[str, Future[Path]], undisturbed: dict[str, Future[Path]]
) -> None:
    folder = logged[way].result()
    assert len(rows(folder)) == {"every step": STEPS + 1, "never": 2}[way]
    for part in ("model", "optimizer"):
        assert_same_state(state(folder)[part], state(undisturbed["full batch"].result())[part])
