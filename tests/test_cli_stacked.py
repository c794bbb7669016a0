"""`-m hydra/launcher=stacked`: the results of the basic launcher, job by job; resumed, refused, stopped, diverged."""

from __future__ import annotations

import shutil
import signal
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch
from command import (
    QUIET,
    TINY,
    Call,
    Inside,
    Submit,
    call,
    digest,
    finished,
    last_checkpoint,
    refusal,
    rows,
    state,
    struck,
    summary,
)
from idx_files import write_images
from omegaconf import OmegaConf
from sweeping import assert_close_rows, assert_close_weights

from grokplane import config

FIXED = (*TINY, "mi=off", "record.figures=false", "train.steps=40", "log.every=20", "log.dense_steps=2")
# Four jobs in two stacks, one stack per optimizer.
JOBS = ("-m", *FIXED, "optimizer=adamw,sgd", "seed=0,1", "hydra.sweep.dir=sweep")
STACKED = "hydra/launcher=stacked"


@pytest.fixture(scope="module", autouse=True)
def basic(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> Future[Path]:
    return submit(_multirun, tmp_path_factory.mktemp("basic"))


@pytest.fixture(scope="module", autouse=True)
def stacked(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> Future[Path]:
    return submit(_multirun, tmp_path_factory.mktemp("stacked"), STACKED)


@pytest.fixture(scope="module", autouse=True)
def stopped(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> Future[tuple[Path, Call]]:
    return submit(_stopped, tmp_path_factory.mktemp("stopped"))


@pytest.fixture(scope="module", autouse=True)
def diverged(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> Future[tuple[Path, Call]]:
    return submit(_diverged, tmp_path_factory.mktemp("diverged"))


def _multirun(cwd: Path, *typed: str) -> Path:
    (cwd / "printed").write_text(finished(*JOBS, *typed, cwd=cwd).stdout)
    return cwd


def _stopped(cwd: Path) -> tuple[Path, Call]:
    typed = (*JOBS, *QUIET, STACKED, "train.steps=100000", "log.every=10")
    done = struck(signal.SIGTERM, 30, cwd / "sweep" / "0", *typed, cwd=cwd)
    return cwd / "sweep", done


def _diverged(cwd: Path) -> tuple[Path, Call]:
    """Images, and a learning rate with which training diverges."""
    write_images(cwd / "data/MNIST/raw", train=60, test=20)
    small = ("data.train_points=40", "train.batch_size=20", "model.hidden=[8]", "train.steps=12", "train.threads=1")
    grid = ("optimizer.lr=0.001,1e30", "hydra.sweep.dir=sweep", STACKED)
    done = call("-m", *QUIET, "mi=off", *small, *grid, cwd=cwd, program="train_mnist.py")
    return cwd / "sweep", done


def _without_wandb(folder: Path) -> set[str]:
    return {name for name in digest(folder) if not name.startswith("wandb/")}


def test_every_job_leaves_what_it_leaves_with_the_basic_launcher(basic: Future[Path], stacked: Future[Path]) -> None:
    for number, (optimizer, seed) in enumerate([("adamw", 0), ("adamw", 1), ("sgd", 0), ("sgd", 1)]):
        ours, theirs = (folder.result() / "sweep" / str(number) for folder in (stacked, basic))
        assert _without_wandb(ours) == _without_wandb(theirs)
        assert len(list((ours / "wandb").glob("offline-run-*"))) == 1
        assert_close_rows(rows(ours), rows(theirs))
        assert_close_weights(ours, theirs)
        stored = [torch.load(last_checkpoint(folder), weights_only=True)["config"] for folder in (ours, theirs)]
        assert stored[0] == stored[1]
        assert stored[0]["seed"] == seed
        assert stored[0]["optimizer"]["_target_"].lower().endswith(optimizer)
        told = [summary(folder) for folder in (ours, theirs)]
        assert [one["members"] for one in told] == [2, 1]
        assert told[0].keys() == told[1].keys()
        for key in ("status", "steps", "config_hash", "diverged"):
            assert told[0][key] == told[1][key], key
        hydra = [OmegaConf.load(folder / ".hydra" / "overrides.yaml") for folder in (ours, theirs)]
        assert hydra[0] == hydra[1]
        configs = [config.flat(OmegaConf.load(folder / ".hydra" / "config.yaml")) for folder in (ours, theirs)]
        assert configs[0] == configs[1]


def test_reports_come_in_the_order_of_the_jobs(basic: Future[Path], stacked: Future[Path]) -> None:
    ours, theirs = ((folder.result() / "printed").read_text().splitlines() for folder in (stacked, basic))
    assert [line for line in ours if line.startswith("run ")] == [
        f"run          sweep/{number} (finished at step 40)" for number in range(4)
    ]
    assert {line for line in theirs if line.startswith("run ")} <= set(ours)


def test_a_resumed_multirun_does_only_what_is_missing(stacked: Future[Path], tmp_path: Path) -> None:
    shutil.copytree(stacked.result() / "sweep", tmp_path / "sweep")
    names = ("0", "2", "3")
    shutil.rmtree(tmp_path / "sweep" / "1")
    before = {name: digest(tmp_path / "sweep" / name) for name in names}
    resumed = finished(*JOBS, STACKED, "train.resume=true", cwd=tmp_path)
    assert resumed.stdout.count("finished at step 40: there is nothing left to do") == 3
    assert {name: digest(tmp_path / "sweep" / name) for name in names} == before
    assert_close_rows(rows(tmp_path / "sweep" / "1"), rows(stacked.result() / "sweep" / "1"))
    assert OmegaConf.load(tmp_path / "sweep" / "1" / ".hydra" / "config.yaml").seed == 1


def test_taken_folders_and_bad_options_are_refused_before_anything_is_written(
    stacked: Future[Path], inside: Inside
) -> None:
    cwd = stacked.result()
    before = digest(cwd)
    line = refusal(inside(*JOBS, STACKED, cwd=cwd))
    assert line.startswith("hydra.run.dir=sweep/0: holds a run already")
    bad = {
        "hydra.launcher.max_members=0": "hydra.launcher.max_members=0: must be at least 1",
        "hydra.launcher.executor=slurm": "hydra.launcher.executor=slurm: allowed: local, submitit, ray",
    }
    for typed, told in bad.items():
        assert refusal(inside(*JOBS, STACKED, typed, "train.overwrite=true", cwd=cwd)).startswith(told)
    line = refusal(inside(*JOBS, STACKED, "data.operation=add,div", "data.p=8", "hydra.sweep.dir=new", cwd=cwd))
    assert line == "data.operation=div: needs a prime data.p, not 8"
    assert digest(cwd) == before


def test_sigterm_ends_the_multirun_and_all_can_be_resumed(stopped: Future[tuple[Path, Call]]) -> None:
    folder, done = stopped.result()
    assert done.returncode == 143
    assert "Traceback" not in done.stderr
    for name in ("0", "1"):
        assert summary(folder / name)["status"] == "interrupted"
        assert state(folder / name)["step"] >= 30
    assert not (folder / "2").exists()


def test_a_diverged_job_is_told_by_the_exit_code(diverged: Future[tuple[Path, Call]]) -> None:
    folder, done = diverged.result()
    assert done.returncode == 3, done.stderr
    assert [summary(folder / name)["status"] for name in ("0", "1")] == ["finished", "diverged"]
    assert "diverged     training loss not finite at step" in done.stdout


def test_the_node_of_hydra_is_that_of_the_basic_launcher(basic: Future[Path], stacked: Future[Path]) -> None:
    for job in range(4):
        ours, theirs = (
            OmegaConf.load(there.result() / "sweep" / str(job) / ".hydra" / "hydra.yaml").hydra
            for there in (stacked, basic)
        )
        assert ours.job == theirs.job
        assert ours.overrides.task == theirs.overrides.task
        choices = dict(theirs.runtime.choices) | {"hydra/launcher": "stacked"}
        assert choices.items() <= dict(ours.runtime.choices).items()
