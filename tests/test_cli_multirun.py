"""What a call prints, and multiruns: job folders, repeating, resuming, stopping."""

from __future__ import annotations

import shutil
import signal
from concurrent.futures import Future
from pathlib import Path

import pytest
from command import QUIET, TINY, Call, Inside, Submit, call, digest, finished, refusal, rows, state, struck, summary
from omegaconf import OmegaConf

from grokplane import config

SWEEP = ("-m", *TINY, *QUIET, "mi=off", "train.steps=9", "seed=0,1", "hydra.sweep.dir=sweep")


@pytest.fixture(scope="module", autouse=True)
def printed(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Call]]:
    cwd = tmp_path_factory.mktemp("printed")
    calls = {"help": ("--help", "optimizer=sgd"), "config": ("--cfg", "job", "data.p=11")}
    return {name: submit(finished, *typed, cwd=cwd) for name, typed in calls.items()}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which `sweep` is a multirun over two seeds."""
    cwd = tmp_path_factory.mktemp("multirun")
    finished(*SWEEP, cwd=cwd)
    return cwd


def test_help_has_every_key_on_a_line_of_its_own(printed: dict[str, Future[Call]]) -> None:
    lines = printed["help"].result().stdout.splitlines()
    keys = config.flat(config.compose(["optimizer=sgd"]))
    for key in [key for key in keys if not key.endswith("_target_")]:
        (line,) = [line for line in lines if line.startswith(f"  {key}=")]
        assert len(line.split(maxsplit=1)[1]) > 5, f"{key} has no help"
    for group in ("data", "model", "optimizer", "schedule", "loss", "log", "grok", "record", "train", "experiment"):
        assert any(line.split(",")[0] == group for line in lines), group


def test_cfg_job_prints_the_composed_config(printed: dict[str, Future[Call]]) -> None:
    shown = OmegaConf.create(printed["config"].result().stdout)
    assert config.flat(shown) == config.flat(config.compose(["data.p=11"]))


def test_a_multirun_leaves_one_folder_a_job(sweep: Path) -> None:
    folders = [sweep / "sweep" / name for name in ("0", "1")]
    for seed, folder in enumerate(folders):
        assert summary(folder)["status"] == "finished"
        assert OmegaConf.load(folder / ".hydra" / "config.yaml").seed == seed
        assert rows(folder)[-1]["step"] == 9
    assert rows(folders[0]) != rows(folders[1])


def test_a_multirun_into_folders_that_hold_runs_is_refused(sweep: Path, inside: Inside) -> None:
    before = digest(sweep)
    line = refusal(inside(*SWEEP, "seed=5,1", cwd=sweep))
    assert line.startswith("hydra.run.dir=sweep/0: holds a run already")
    assert digest(sweep) == before


def test_a_multirun_that_is_resumed_does_only_what_is_missing(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep / "sweep", tmp_path / "sweep")
    done, missing = tmp_path / "sweep" / "0", tmp_path / "sweep" / "1"
    shutil.rmtree(missing)
    before = digest(done)
    resumed = finished(*SWEEP, "train.resume=true", cwd=tmp_path)
    assert "finished at step 9: there is nothing left to do" in resumed.stdout
    before["train.log"] = digest(done)["train.log"]  # Hydra opens it for every job
    assert digest(done) == before
    assert rows(missing) == rows(sweep / "sweep" / "1")
    assert OmegaConf.load(missing / ".hydra" / "config.yaml").seed == 1


def test_the_joblib_launcher_leaves_the_same(sweep: Path, tmp_path: Path) -> None:
    grid = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0", "optimizer.lr=0.001,1e300")
    done = call(*SWEEP, *grid, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert rows(tmp_path / "sweep" / "0") == rows(sweep / "sweep" / "0")
    assert [summary(tmp_path / "sweep" / str(job))["status"] for job in range(2)] == ["finished", "diverged"]


def test_a_stopped_multirun_begins_no_further_job(tmp_path: Path) -> None:
    typed = [*SWEEP, "train.steps=100000", "log.every=10", "hydra.sweep.subdir=${seed}"]
    done = struck(signal.SIGTERM, 30, tmp_path / "sweep" / "0", *typed, cwd=tmp_path)
    assert done.returncode == 143
    assert summary(tmp_path / "sweep" / "0")["status"] == "interrupted"
    assert state(tmp_path / "sweep" / "0")["step"] >= 30
    assert not (tmp_path / "sweep" / "1").exists()
