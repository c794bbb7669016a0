"""A folder that holds a run: which calls may use it, and which calls leave every byte unchanged."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch
from command import (
    QUIET,
    TINY,
    TRAIN,
    Inside,
    Submit,
    assert_same_state,
    digest,
    ended_well,
    finished,
    last_checkpoint,
    refusal,
    rows,
    state,
    summary,
)
from omegaconf import OmegaConf

from grokplane.app.nulls import as_nulls
from grokplane.record.lock import FolderLock

RUN = (*TINY, *QUIET, "mi=off", "train.steps=60", "train.checkpoint_every=25", "log.dense_steps=3", "log.every=20")
RESUME = "train.resume=true"
REFUSED = [
    (RUN, "hydra.run.dir=run: holds a run already", "train.overwrite=true or train.resume=true"),
    ((RESUME, "train.steps=50"), "train.steps=50: only upward", "the run has 60"),
    ((RESUME, "seed=3", "data.p=11"), "train.resume=true: run holds a run with another", "seed=3 (the run: 0)"),
    (
        (RESUME, "optimizer=sgd"),
        "train.resume=true: run holds a run with another",
        ": optimizer=sgd (the run: adamw)",
    ),
    (
        (RESUME, "rules=[orthograd]"),
        "train.resume=true: run holds",
        "config: rules=[orthograd] (the run: [])",
    ),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `run` is a finished run."""
    cwd = tmp_path_factory.mktemp("base")
    finished(*RUN, "hydra.run.dir=run", cwd=cwd)
    return cwd


@pytest.fixture(scope="module")
def before(base: Path) -> dict[str, str]:
    return digest(base)


@pytest.fixture(scope="module", autouse=True)
def whole(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> Future[Path]:
    """A run of 90 steps, never resumed."""
    return submit(_finished, tmp_path_factory.mktemp("whole"), *RUN, "train.steps=90")


def _finished(cwd: Path, *typed: str) -> Path:
    finished(*typed, "hydra.run.dir=a b/run", cwd=cwd)
    return cwd / "a b" / "run"


def _copy(base: Path, to: Path) -> Path:
    return Path(shutil.copytree(base / "run", to / "run"))


def _assert_same_run(one: Path, other: Path) -> None:
    assert_same_state(state(one), state(other))
    assert rows(one) == rows(other)
    assert summary(one)["status"] == summary(other)["status"] == "finished"


@pytest.mark.parametrize(("typed", "beginning", "allowed"), REFUSED, ids=[" ".join(typed) for typed, *_ in REFUSED])
def test_a_refused_call_changes_no_byte(
    typed: tuple[str, ...], beginning: str, allowed: str, inside: Inside, base: Path, before: dict[str, str]
) -> None:
    line = refusal(inside(*typed, "hydra.run.dir=run", cwd=base))
    assert line.startswith(beginning)
    assert allowed in line
    assert digest(base) == before


def test_resuming_a_finished_run_says_so_and_changes_no_byte(
    base: Path, before: dict[str, str], inside: Inside
) -> None:
    done = ended_well(inside, RESUME, "hydra.run.dir=run", *TINY, cwd=base)
    assert done.stdout == "run: finished at step 60: there is nothing left to do\n"
    assert done.stderr == ""
    assert digest(base) == before


def test_a_folder_in_which_another_process_writes_is_refused(base: Path, tmp_path: Path, inside: Inside) -> None:
    folder = _copy(base, tmp_path)
    lock = FolderLock(folder)
    held = digest(tmp_path)
    try:
        line = refusal(inside(*RUN, "train.overwrite=true", "hydra.run.dir=run", cwd=tmp_path))
        assert line.startswith("hydra.run.dir=run: another process writes there (pid ")
        assert digest(tmp_path) == held
    finally:
        lock.release()


def test_a_finished_run_made_longer_equals_a_longer_run(
    base: Path, tmp_path: Path, whole: Future[Path], inside: Inside
) -> None:
    folder = _copy(base, tmp_path)
    ended_well(inside, RESUME, "train.steps=90", "hydra.run.dir=run", cwd=tmp_path)
    _assert_same_run(folder, whole.result())
    assert summary(folder)["wandb_id"] == summary(base / "run")["wandb_id"]
    assert OmegaConf.load(folder / ".hydra" / "config.yaml").train.steps == 90
    assert torch.load(last_checkpoint(folder), weights_only=True)["config"]["train"]["steps"] == 90


def test_a_damaged_checkpoint_costs_a_word_and_nothing_else(base: Path, tmp_path: Path) -> None:
    folder = _copy(base, tmp_path)
    damaged = last_checkpoint(folder)
    content = bytearray(damaged.read_bytes())
    weights = max(state(folder)["model"].values(), key=torch.numel)
    content[content.index(weights.numpy().tobytes())] ^= 0xFF
    damaged.write_bytes(content)
    done = finished(RESUME, "hydra.run.dir=run", cwd=tmp_path)
    assert "step_00000060.pt is damaged" in done.stderr
    assert "falling back to the one before it" in done.stderr
    assert done.stderr.count("is damaged") == 1
    _assert_same_run(folder, base / "run")


def test_rows_that_are_gone_are_told_of(base: Path, tmp_path: Path) -> None:
    folder = _copy(base, tmp_path)
    (folder / "metrics.jsonl").write_bytes(b'{"step": 0')
    done = finished(RESUME, "train.steps=61", "hydra.run.dir=run", cwd=tmp_path)
    assert "run: metrics.jsonl there has no row before step 60: they are lost\n" in done.stderr
    assert [row["step"] for row in rows(folder)] == [60, 61]


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_without_a_checkpoint_that_can_be_read_a_run_starts_at_step_0(base: Path, tmp_path: Path, how: str) -> None:
    folder = _copy(base, tmp_path)
    checkpoints = sorted((folder / "checkpoints").iterdir())
    for path in checkpoints:
        path.unlink() if how == "gone" else path.write_bytes(b"torn")
    done = finished(RESUME, "hydra.run.dir=run", cwd=tmp_path)
    assert done.stderr.count("is damaged") == (0 if how == "gone" else len(checkpoints))
    assert "step 0/60" in done.stderr
    assert "run: no checkpoint there yet: starts at step 0\n" in done.stderr
    _assert_same_run(folder, base / "run")


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (("hydra.run.dir=outputs/defualt/run",), "is no folder, there is no run to go on with; did you mean {}/run?"),
        (("hydra.run.dir=outputs/default",), "holds no run to go on with; did you mean {}/run?"),
        (("hydra.run.dir=outputs/default/empty",), "holds no run to go on with; to begin a run there, leave"),
        (
            ("hydra.sweep.dir=outputs/defalt", "-m", "seed=0,1"),
            "is no folder, there is no run to go on with; did you mean {}?",
        ),
    ],
)
def test_resuming_where_nothing_was_begun_is_refused(
    typed: tuple[str, ...], told: str, inside: Inside, tmp_path: Path
) -> None:
    for name in ("run/.hydra", "empty"):
        (tmp_path / "outputs" / "default" / name).mkdir(parents=True)
    before = digest(tmp_path)
    line = refusal(inside(*RUN, RESUME, *typed, cwd=tmp_path))
    assert line.startswith(f"train.resume=true: {typed[0].partition('=')[2]} {told.format('outputs/default')}")
    assert digest(tmp_path) == before


def test_an_agents_call_begins_what_it_may_go_on_with(
    inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "of/a/sweep")
    done = inside(*RUN, RESUME, "train.steps=3", "hydra.run.dir=cell", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert summary(tmp_path / "cell")["status"] == "finished"


def test_overwriting_leaves_nothing_of_the_earlier_run(base: Path, tmp_path: Path, inside: Inside) -> None:
    folder = _copy(base, tmp_path)
    ended_well(inside, *RUN, "train.overwrite=true", "train.steps=8", f"hydra.run.dir={folder}", cwd=tmp_path)
    assert [row["step"] for row in rows(folder)] == [0, 1, 2, 8]
    assert last_checkpoint(folder).name == "step_00000008.pt"
    assert summary(folder)["wandb_id"] != summary(base / "run")["wandb_id"]


def test_a_schedule_that_ends_with_the_run_cannot_be_made_longer(tmp_path: Path, inside: Inside) -> None:
    typed = (*RUN, "schedule=cosine", "train.steps=10", "hydra.run.dir=run")
    ended_well(inside, *typed, cwd=tmp_path)
    before = digest(tmp_path)
    line = refusal(inside(*typed, RESUME, "train.steps=20", cwd=tmp_path))
    assert line == "train.steps=20: the run's learning-rate schedule ends at its 10 steps"
    assert digest(tmp_path) == before


def test_resuming_and_overwriting_exclude_each_other_in_a_folder_with_a_run(
    base: Path, tmp_path: Path, inside: Inside
) -> None:
    folder = _copy(base, tmp_path)
    before = digest(folder)
    line = refusal(inside("train.resume=true", "train.overwrite=true", f"hydra.run.dir={folder}", cwd=tmp_path))
    assert line.startswith("train.overwrite=true: ")
    assert digest(folder) == before


def test_a_checkpoint_that_cannot_be_read_is_told_and_nothing_is_changed(
    base: Path, tmp_path: Path, inside: Inside
) -> None:
    folder = _copy(base, tmp_path)
    last_checkpoint(folder).rename(folder / "checkpoints" / "kept")
    (folder / "checkpoints" / "step_00000060.pt").mkdir()
    before = digest(folder)
    line = refusal(inside("train.resume=true", f"hydra.run.dir={folder}", cwd=tmp_path))
    assert "cannot be read just now" in line
    assert digest(folder) == before


def test_overwriting_a_folder_without_a_run_leaves_what_is_there(tmp_path: Path, inside: Inside) -> None:
    mine = [tmp_path / "mine" / name for name in ("figures/paper.pdf", "checkpoints/my.ckpt")]
    for path in mine:
        path.parent.mkdir(parents=True)
        path.write_text("mine")
    ended_well(inside, *RUN, "train.overwrite=true", "train.steps=3", "hydra.run.dir=mine", cwd=tmp_path)
    assert [path.read_text() for path in mine] == ["mine", "mine"]


def test_a_call_that_comes_too_late_for_the_check_writes_nothing_either(
    base: Path, tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _copy(base, tmp_path)
    before = digest(folder)
    lock = FolderLock(folder)
    monkeypatch.setattr("grokplane.app.jobs.check_folder", lambda *_, **__: None)
    try:
        line = refusal(inside(*RUN, "seed=5", f"hydra.run.dir={folder}", cwd=tmp_path))
    finally:
        lock.release()
    assert "another process writes there" in line
    assert {name: text for name, text in digest(folder).items() if name in before and name != ".lock"} == {
        name: text for name, text in before.items() if name != ".lock"
    }


@pytest.mark.parametrize("redirection", ["2>&-", ">&-", "2>/dev/full", ">/dev/full", "| true"])
def test_nobody_listening_costs_no_run(redirection: str, tmp_path: Path) -> None:
    words = [sys.executable, str(TRAIN), *RUN, "train.steps=3", "hydra.run.dir=heard"]
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{shlex.join(words)} {redirection}"],
        cwd=tmp_path,
        env=os.environ | {"WANDB_MODE": "disabled"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert summary(tmp_path / "heard")["status"] == "finished"


def test_pythons_none_is_null_but_in_hydras_keys() -> None:
    assert as_nulls(["train.threads=None", "hydra.run.dir=None"]) == ["train.threads=null", "hydra.run.dir=None"]
