"""sweep.py on the real command line: a grid, repeated, killed, stopped, with failing cells, and refused calls."""

from __future__ import annotations

import shutil
import signal
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch
from command import (
    Call,
    Inside,
    Submit,
    _started,
    assert_same_state,
    call,
    digest,
    finished,
    last_checkpoint,
    last_step,
    refusal,
    rows,
    state,
    summary,
)
from idx_files import write_images
from omegaconf import OmegaConf
from sweeping import COMMAND, FIXED, OFF, SWEEP, assert_close_rows, assert_close_weights, cells, sweep_file, table

SHIPPED = Path(__file__).parents[1] / "sweeps"
# A single member sums in another order than a stack: in float32 that can switch a ReLU on or off.
PRECISE = "train.dtype=float64"
LONG = ("train.steps=600", "train.checkpoint_every=50", "log.every=10", "--max-members", "2", "seed=0,1", PRECISE, OFF)
FORMATS = "record.figure_format=[png,svg]"
GOOD, BAD = "data.operation=add,optimizer.lr=0.001,data.train_fraction=0.5", "data.operation=div,optimizer.lr=0.001"
# Four cells that train, one of which diverges; one that cannot be built and two that cannot be composed.
CELLS = {
    "data.operation": {"values": ["add", "div"]},
    "optimizer.lr": {"values": [0.001, 1000000.0]},
    "data.train_fraction": {"values": [0.5, 2]},
    "seed": {"values": [0, 1]},
}


@pytest.fixture(scope="module", autouse=True)
def grid(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> Future[Path]:
    """A folder in which the tiny sweep has run."""
    return submit(_grid, tmp_path_factory.mktemp("grid"))


@pytest.fixture(scope="module", autouse=True)
def alone(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> Future[Path]:
    """One cell of the tiny sweep as a single run."""
    return submit(_alone, tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module", autouse=True)
def undisturbed(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> Future[Path]:
    return submit(_long, tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module", autouse=True)
def killed(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> Future[Path]:
    """The long sweep, killed while its second stack was training."""
    return submit(_struck, tmp_path_factory.mktemp("killed"), signal.SIGKILL, -signal.SIGKILL)


@pytest.fixture(scope="module", autouse=True)
def stopped(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> Future[Path]:
    """The long sweep, stopped with Ctrl-C while its second stack was training."""
    return submit(_struck, tmp_path_factory.mktemp("stopped"), signal.SIGINT, 130)


@pytest.fixture(scope="module", autouse=True)
def with_bad_cells(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> Future[tuple[Path, Call]]:
    return submit(_with_bad_cells, tmp_path_factory.mktemp("bad"))


@pytest.fixture(scope="module", autouse=True)
def landscape(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> Future[Path]:
    return submit(_landscape, tmp_path_factory.mktemp("landscape"))


def _grid(cwd: Path) -> Path:
    sweep_file(cwd)
    finished("tiny.yaml", cwd=cwd, program=SWEEP)
    return cwd


def _alone(cwd: Path) -> Path:
    finished(*FIXED, "optimizer.weight_decay=1", "seed=2", "hydra.run.dir=run", cwd=cwd)
    return cwd / "run"


def _long(cwd: Path) -> Path:
    sweep_file(cwd)
    finished("tiny.yaml", *LONG, cwd=cwd, program=SWEEP)
    return cwd / "outputs/sweeps/tiny"


def _struck(cwd: Path, number: signal.Signals, code: int) -> Path:
    """Send a signal to the long sweep as soon as a cell of its second stack has trained 100 steps."""
    sweep_file(cwd)
    folder = cwd / "outputs/sweeps/tiny"
    with _started(("tiny.yaml", *LONG), cwd, SWEEP) as process:
        while last_step(folder / "optimizer.weight_decay=1,seed=0") < 100:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    return folder


def _with_bad_cells(cwd: Path) -> tuple[Path, Call]:
    command = [part for part in COMMAND if not part.startswith("data.train_fraction")]
    sweep_file(cwd, parameters=CELLS, command=command)
    fixed = (OFF, "data.p=8", "optimizer.weight_decay=1")
    done = call("tiny.yaml", *fixed, cwd=cwd, program=SWEEP)
    good = ("data.operation=add", "optimizer.lr=0.001", "data.train_fraction=0.5")
    finished("tiny.yaml", *fixed, *good, "hydra.sweep.dir=good", cwd=cwd, program=SWEEP)
    return cwd, done


def _landscape(cwd: Path) -> Path:
    """The shipped landscape, reduced to 6 x 6 cells of a few steps on small images."""
    write_images(cwd / "data/MNIST/raw", train=300, test=40)
    small = ("train.steps=3", "train.threads=1", "model.hidden=[8,8]", "train.batch_size=20", "record.wandb=disabled")
    axes = ("data.train_points=20,30,50,90,160,280", "rules.constant_norm.alpha=0.1,0.3,1,2,4,10")
    finished(str(SHIPPED / "omnigrok_landscape.yaml"), *small, *axes, FORMATS, cwd=cwd, program=SWEEP)
    return cwd / "outputs/sweeps/omnigrok_landscape"


def test_a_grid_leaves_a_folder_a_cell_and_the_table(grid: Future[Path]) -> None:
    folder = grid.result() / "outputs/sweeps/tiny"
    names = {f"optimizer.weight_decay={decay},seed={seed}" for decay in ("0.1", "1") for seed in range(3)}
    assert {cell.name for cell in cells(folder)} == names
    found = table(folder)
    assert found.keys() == names
    for name, row in found.items():
        told = summary(folder / name)
        assert told["status"] == row["status"] == "finished"
        assert told["members"] == 6
        assert OmegaConf.load(folder / name / ".hydra/config.yaml").seed == int(row["seed"])
        assert float(row["last.Acc/test"]) == told["last"]["Acc/test"]
        assert float(row["best.Loss/test"]) == told["best"]["Loss/test"]["value"]
        assert len(list((folder / name / "wandb").glob("offline-run-*"))) == 1
    assert (folder / "sweep.png").stat().st_size > 1000


def test_a_cell_is_the_run_that_its_command_line_makes(grid: Future[Path], alone: Future[Path]) -> None:
    cell = grid.result() / "outputs/sweeps/tiny/optimizer.weight_decay=1,seed=2"
    ours, theirs = (torch.load(last_checkpoint(run), weights_only=True) for run in (cell, alone.result()))
    assert ours["config"] == theirs["config"]
    assert summary(cell)["config_hash"] == summary(alone.result())["config_hash"]
    assert_close_weights(cell, alone.result())
    assert_close_rows(rows(cell), rows(alone.result()))
    overrides = OmegaConf.to_container(OmegaConf.load(cell / ".hydra/overrides.yaml"))
    assert overrides == [*FIXED, "optimizer.weight_decay=1", "seed=2"]


def test_again_trains_nothing(grid: Future[Path], inside: Inside) -> None:
    cwd = grid.result()
    before = {cell.name: digest(cell) for cell in cells(cwd / "outputs/sweeps/tiny")}
    again = finished("tiny.yaml", cwd=cwd, program=SWEEP)
    assert again.stdout.startswith("6 cells: 6 finished\n")
    assert "6 cells, 0 to train in 0 stacks" in inside("tiny.yaml", "--dry-run", cwd=cwd, program=SWEEP).stdout
    assert inside("tiny.yaml", "--status", cwd=cwd, program=SWEEP).stdout.count(" finished ") == 6
    assert {cell.name: digest(cell) for cell in cells(cwd / "outputs/sweeps/tiny")} == before


@pytest.mark.parametrize("flags", [(), ("--status",)])
def test_another_sweep_in_a_sweeps_folder_is_refused(
    flags: tuple[str, ...], grid: Future[Path], inside: Inside
) -> None:
    cwd = grid.result()
    before = digest(cwd)
    line = refusal(inside("tiny.yaml", "data.p=11", "optimizer=sgd", *flags, cwd=cwd, program=SWEEP))
    assert line.startswith(
        "outputs/sweeps/tiny holds another sweep: data.p=11 (there: 7), optimizer=sgd (there: adamw): "
    )
    assert line.endswith("(there: adamw): name another folder with hydra.sweep.dir=FOLDER, or delete this one")
    assert digest(cwd) == before


def test_a_run_and_a_multirun_in_a_sweeps_folder_are_refused(grid: Future[Path], inside: Inside) -> None:
    cwd = grid.result()
    before = digest(cwd)
    folder = "outputs/sweeps/tiny"
    for key, flags in (("run", ()), ("sweep", ("-m", "seed=0,1"))):
        line = refusal(inside(*flags, *FIXED, f"hydra.{key}.dir={folder}", cwd=cwd))
        assert line.startswith(f"hydra.{key}.dir={folder}: holds a sweep (.sweep.json there): choose another folder")
    assert digest(cwd) == before


def test_a_sweep_in_the_folder_of_a_multirun_is_refused(inside: Inside, tmp_path: Path) -> None:
    sweep_file(tmp_path)
    typed = ("-m", *FIXED, OFF, "train.steps=1", "seed=0", "hydra.sweep.dir=there")
    assert inside(*typed, cwd=tmp_path).returncode == 0
    before = digest(tmp_path)
    line = refusal(inside("tiny.yaml", "hydra.sweep.dir=there", cwd=tmp_path, program=SWEEP))
    assert line.startswith("there holds a multirun: multirun.yaml: name another folder with hydra.sweep.dir=FOLDER")
    assert digest(tmp_path) == before


def test_a_sweep_that_grows_keeps_the_rows_of_all_its_cells(grid: Future[Path], inside: Inside, tmp_path: Path) -> None:
    """Another part of the same grid: the same keys over the same base."""
    shutil.copytree(grid.result(), tmp_path / "cwd")
    folder = tmp_path / "cwd/outputs/sweeps/tiny"
    before = table(folder)
    typed = ("optimizer.weight_decay=1", "seed=2,3")  # seed 2 is there
    done = inside("tiny.yaml", *typed, OFF, cwd=tmp_path / "cwd", program=SWEEP)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 cells: 2 finished\n")
    assert "sweep.csv, with 5 cells of earlier calls" in done.stdout
    assert before.items() <= table(folder).items()
    (new,) = table(folder).keys() - before.keys()
    assert new == "optimizer.weight_decay=1,seed=3"
    assert table(folder)[new]["steps"] == "60"
    line = refusal(inside("tiny.yaml", "data.p=11", cwd=tmp_path / "cwd", program=SWEEP))
    assert "holds another sweep: data.p=11 (there: 7)" in line


def test_cells_that_went_further_are_over(grid: Future[Path], inside: Inside) -> None:
    """Interrupted cells may have been trained further by themselves; that does not refuse the others."""
    done = inside("tiny.yaml", "train.steps=50", "seed=0", cwd=grid.result(), program=SWEEP)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 cells are over" in done.stderr


def test_a_dry_run_writes_nothing(tmp_path: Path, inside: Inside) -> None:
    sweep_file(tmp_path)
    before = digest(tmp_path)
    done = inside(
        "tiny.yaml", "optimizer=adamw,sgd", "seed=0,1", "--dry-run", "--max-members=2", cwd=tmp_path, program=SWEEP
    )
    assert digest(tmp_path) == before
    assert "8 cells, 8 to train in 4 stacks" in done.stdout
    assert "stack 4: 2 members, 60 steps, " in done.stdout
    for word in (" each, ", " a member-step, ", "memory: ", "time: about "):
        assert word in done.stdout


def _assert_ends_as_undisturbed(folder: Path, undisturbed: Path) -> None:
    done = {cell: digest(cell) for cell in cells(folder) if summary(cell)["status"] == "finished"}
    assert len(done) == 2
    # A signal between the checkpoints of two members separates them: alone, each sums in another order than in a stack.
    whole = len({last_checkpoint(cell).name for cell in cells(folder) if cell not in done}) == 1
    finished("tiny.yaml", *LONG, cwd=folder.parents[2], program=SWEEP)
    assert {cell: digest(cell) for cell in done} == done
    assert table(folder).keys() == {cell.name for cell in cells(undisturbed)}
    for cell in cells(undisturbed):
        assert table(folder)[cell.name]["status"] == "finished"
        if whole or folder / cell.name in done:
            assert_same_state(state(folder / cell.name), state(cell))
            assert rows(folder / cell.name) == rows(cell)
        else:
            assert_close_weights(folder / cell.name, cell)
            assert_close_rows(rows(folder / cell.name), rows(cell))


def test_a_killed_sweep_goes_on_where_it_was(killed: Future[Path], undisturbed: Future[Path], tmp_path: Path) -> None:
    folder = killed.result()
    shutil.copytree(folder / "optimizer.weight_decay=1,seed=1", tmp_path / "cell")
    assert summary(tmp_path / "cell")["status"] == "running"
    _assert_ends_as_undisturbed(folder, undisturbed.result())
    finished("train.resume=true", "hydra.run.dir=cell", cwd=tmp_path)
    assert_close_weights(tmp_path / "cell", folder / "optimizer.weight_decay=1,seed=1")


def test_a_stopped_sweep_says_where_it_stands_and_goes_on(stopped: Future[Path], undisturbed: Future[Path]) -> None:
    folder = stopped.result()
    statuses = [row["status"] for row in table(folder).values()]
    assert statuses == ["finished", "finished", "interrupted", "interrupted"]
    assert not (folder / "sweep.png").exists()
    _assert_ends_as_undisturbed(folder, undisturbed.result())


def test_bad_cells_are_named_and_leave_the_others_untouched(with_bad_cells: Future[tuple[Path, Call]]) -> None:
    cwd, done = with_bad_cells.result()
    folder = cwd / "outputs/sweeps/tiny"
    assert done.returncode == 1
    assert "16 cells: 2 finished, 12 failed, 2 diverged" in done.stdout
    found = table(folder)
    assert len(found) == 16
    for seed in (0, 1):
        good, lost = f"{GOOD},seed={seed}", f"{GOOD},seed={seed}".replace("0.001", "1000000.0")
        unbuilt, uncomposed = f"{BAD},data.train_fraction=0.5,seed={seed}", f"{BAD},data.train_fraction=2,seed={seed}"
        assert found[good]["status"] == "finished"
        assert_close_weights(folder / good, cwd / "good" / good)
        assert found[lost]["status"] == "diverged"
        assert found[lost]["diverged"] == str(summary(folder / lost)["diverged"])
        assert found[unbuilt]["error"] == "data.operation=div: needs a prime data.p, not 8"
        assert found[uncomposed]["error"].startswith("data.train_fraction=2")
        for name in (lost, unbuilt, uncomposed):
            assert f"  {name}: {found[name]['status']}, " in done.stdout
            assert (folder / name / ".hydra/overrides.yaml").exists()
        assert summary(folder / unbuilt)["status"] == summary(folder / uncomposed)["status"] == "failed"


def test_the_landscape_runs_small(landscape: Future[Path]) -> None:
    folder = landscape.result()
    found = table(folder)
    assert len(found) == 36
    assert {row["status"] for row in found.values()} == {"finished"}
    assert len({row["last.Loss/test"] for row in found.values()}) == 36
    assert {path.name for path in folder.glob("sweep.*")} == {"sweep.csv", "sweep.png", "sweep.svg"}


@pytest.mark.parametrize(
    ("typed", "line"),
    {
        "no file": (("seed=1",), "FILE: missing; allowed: python sweep.py FILE [key=value ...]"),
        "not there": (("nowhere.yaml",), "nowhere.yaml: cannot be read (No such file or directory)"),
        "flag": (("tiny.yaml", "--dryrun"), "--dryrun: did you mean --dry-run?"),
        "executor": (
            ("tiny.yaml", "--executor", "slurm"),
            "hydra.launcher.executor=slurm: allowed: local, submitit, ray",
        ),
        "a device that is not here": (
            ("tiny.yaml", "--executor", "submitit", "train.device=cuda:99"),
            "hydra.launcher.max_members=null: must be a number where the memory cannot be measured (train.dev",
        ),
        "a file": (("tiny.yaml", "hydra.sweep.dir=tiny.yaml"), "tiny.yaml cannot be a sweep's: it is not a folder"),
        "hydra's": (
            ("tiny.yaml", "hydra.sweep.dir=${hydra:job.name}"),
            "hydra.sweep.dir",  # named, with or without the value as it was typed
        ),
        "no draws": (("tiny.yaml", "--seed", "5"), "--seed 5: would not be read, as tiny.yaml says method: grid"),
        "two looks": (("tiny.yaml", "--status", "--dry-run"), "--dry-run, --status: exclude each other"),
        "deleted": (("tiny.yaml", "~seed"), "tiny.yaml: seed=0: no key of this config; --help"),
        "dirs": (("tiny.yaml", "hydra.sweep.dirs=x"), "hydra.sweep.dirs=x: of Hydra's keys hydra.sweep.dir and"),
        "members": (("tiny.yaml", "--max-members=0"), "hydra.launcher.max_members=0: must be at least 1"),
        "typo": (
            ("tiny.yaml", "optimizer.lrr=1"),
            "tiny.yaml: optimizer.lrr=1: unknown key; did you mean optimizer.lr",
        ),
        "group": (("tiny.yaml", "mode=mlp"), "tiny.yaml: mode=mlp: unknown key; did you mean the config group model?"),
        "swept group": (("tiny.yaml", "mode=mlp,lstm"), "tiny.yaml: mode=mlp: unknown key; did you mean the config gr"),
        "hydra": (("tiny.yaml", "hydra.run.dir=x"), "hydra.run.dir=x: of Hydra's keys hydra.sweep.dir and"),
        "resume": (("tiny.yaml", "train.resume=true"), "train.resume=true: a sweep resumes automatically"),
        "nothing to build": (("tiny.yaml", "data.operation=div", "data.p=8"), "data.operation=div: needs a prime"),
    }.values(),
)
def test_refused_calls_say_one_line_and_write_nothing(
    typed: tuple[str, ...], line: str, inside: Inside, tmp_path: Path
) -> None:
    sweep_file(tmp_path)
    before = digest(tmp_path)
    assert refusal(inside(*typed, cwd=tmp_path, program=SWEEP)).startswith(line)
    assert digest(tmp_path) == before
