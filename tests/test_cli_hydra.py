"""Hydra's own flags and features: what bare Hydra takes works, or is refused before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command import QUIET, TINY, Call, Inside, digest, refusal, summary
from omegaconf import OmegaConf

from grokplane.app.session import execute
from grokplane.record import FolderLock
from grokplane.record import overrides as stored_overrides

SHORT = (*TINY, *QUIET, "mi=off", "train.steps=2", "log.dense_steps=1")
MOMENTUM = ("optimizer=sgd,muon", "optimizer.momentum=0.5")
# What is typed, and how the line begins.
REFUSED = [
    (("-m", "--cfg", "job"), "Only one of --run, --multirun, --cfg"),
    (("--cfg", "jobs"), "argument --cfg/-c: invalid choice: 'jobs'"),
    (("--info", "nothing"), "argument --info/-i: invalid choice: 'nothing'"),
    (("--resolve",), "The --resolve flag can only be used"),
    (("-sc",), "Expecting one subcommand"),
    (("-r", "-m"), "--run, --multirun: exclude each other"),
    (("--config-path=x",), "--config-path: the config groups are those of configs/"),
    (("--config-name=trian",), "--config-name=trian: did you mean train"),
    (("--config-dir=x", "hydra.searchpath=[file:///y]"), "--config-dir=x: beside hydra.searchpath"),
    (("--experimental-rerun=x",), "--experimental-rerun: reads a pickle"),
    (("hydra.output_subdir=x",), "hydra.output_subdir=x: a run's config lies in .hydra/"),
    (("hydra.output_subdir=null",), "hydra.output_subdir=null: a run's config lies in .hydra/"),
    (("hydra.job.chdir=true", "mi=compressed", "data=digits"), "mi.cache=outputs/codes: relative to the job's folder"),
    (
        ("hydra.job.env_copy=[NO_SUCH_THING]",),
        "hydra.job.env_copy=[NO_SUCH_THING]: Hydra cannot apply it",
    ),
    (("+hydra.callbacks.x._target_=no.Such", "hydra.run.dir=run"), "Error locating target 'no.Such'"),
    (
        ("+hydra.callbacks.x._target_=hydra.experimental.callbacks.PickleJobInfoCallback",),
        "hydra.callbacks.x=hydra.experimental.callbacks.PickleJobInfoCallback: a pickle",
    ),
    (("name=${hydra.runtime.choices.nothing}",), "name=${hydra.runtime.choices.nothing}: ${...} must name a key"),
    (("-m", "seed=0,1", "hydra.sweep.dir=x/${hydra.job.num}"), "hydra.sweep.dir=x/${hydra.job.num}: must be given"),
    (
        ("-m", "seed=0,1", "hydra.sweep.dir=${hydra:job.name}"),
        "hydra.sweep.dir=${hydra:job.name}: ${hydra:...} is known",
    ),
    (("-m", *MOMENTUM, "optimizer.betas=[0.9,0.99]"), "optimizer.betas=[0.9,0.99]: no key of this choice"),
    (("-m", "seed=1,2", "hydra.sweep.subdir=${seed}/../x"), "hydra.sweep.subdir=2/../x: must give every job"),
    (("hydra.mode=multirun",), "hydra.mode=multirun: allowed: RUN, MULTIRUN"),
    (("hydra.run.dir=${name",), "hydra.run.dir=${name: ${...} cannot be read"),
    (("hydra.run.dir=${oc.env:NO_SUCH_THING}",), "hydra.run.dir=${oc.env:NO_SUCH_THING}: no such variable"),
    (("mi=off", "+mi/label_estimator=ross"), "mi.label_estimator: no key of this choice"),
    (("~seed",), "~seed: a key of a fixed schema cannot be deleted"),
    (("+seed=1",), "seed=1: is there already; write it without the +"),
    (("-m", "hydra.job.name=a,b"), "Sweeping over Hydra's configuration is not supported"),
    (("-m", "hydra/launcher=stacked", "hydra.job.chdir=true"), "hydra.job.chdir=true: the stacked launcher"),
    (("-m", "hydra/launcher=stacked", "hydra/job_logging=none"), "hydra/job_logging=none: the stacked launcher"),
    (
        ("-m", "hydra/launcher=stacked", "seed=0,1", "+hydra.job.env_set.X=${seed}"),
        "hydra.job.env_set={'X': '${seed}'}: the stacked launcher",
    ),
]


def done(one: Call) -> Call:
    """A call that ended well and without a traceback."""
    assert one.returncode == 0, one.stderr
    assert "Traceback" not in one.stderr
    return one


def folders(cwd: Path) -> list[str]:
    """Those under a folder in which a run ended."""
    found = sorted(cwd.rglob("summary.json"))
    assert all(summary(file.parent)["status"] == "finished" for file in found)
    return [str(file.parent.relative_to(cwd)) for file in found]


@pytest.mark.parametrize(("typed", "beginning"), REFUSED, ids=[" ".join(typed) for typed, _ in REFUSED])
def test_what_is_not_supported_says_so_in_one_line_and_writes_nothing(
    typed: tuple[str, ...], beginning: str, inside: Inside, tmp_path: Path
) -> None:
    assert refusal(inside("train.steps=1", *typed, cwd=tmp_path)).startswith(beginning)
    assert digest(tmp_path) == {}


def test_a_key_that_only_the_swept_choices_have_goes_to_each_of_them(inside: Inside, tmp_path: Path) -> None:
    done(inside(*SHORT, *MOMENTUM, "-m", "hydra.sweep.dir=s", "name=${hydra:runtime.choices.optimizer}", cwd=tmp_path))
    assert folders(tmp_path) == ["s/0", "s/1"]
    stored = [OmegaConf.load(tmp_path / "s" / job / ".hydra" / "config.yaml") for job in "01"]
    assert [(one.name, one.optimizer.momentum) for one in stored] == [("sgd", 0.5), ("muon", 0.5)]
    assert "optimizer.momentum=0.5" in stored_overrides(tmp_path / "s" / "0")


def test_the_flag_may_stand_in_the_middle_and_hydras_node_name_the_folders(inside: Inside, tmp_path: Path) -> None:
    where = "hydra.sweep.dir=${hydra.job.name}_${now:%f}", "hydra.sweep.subdir=${hydra:job.override_dirname}"
    keys = [line.partition("=")[0] for line in SHORT]
    exclude = f"hydra.job.config.override_dirname.exclude_keys=[{','.join(keys)}]"
    typed = (*SHORT, "seed=shuffle(range(1,3))", "-m", "optimizer.lr=1e-3", *where, exclude)
    before = digest(tmp_path)
    done(inside(*typed, cwd=tmp_path))
    (place,) = [path for path in tmp_path.iterdir() if str(path) not in before]
    assert place.name.startswith("train_")
    assert folders(place) == [f"optimizer.lr=0.001,seed={seed}" for seed in (1, 2)]


def test_two_multiruns_at_once_have_folders_of_their_own(inside: Inside, tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "many")  # as the first of them does
    before = digest(tmp_path)
    typed = (*SHORT, "-m", "seed=0,1", "hydra.sweep.dir=many")
    try:
        assert refusal(inside(*typed, cwd=tmp_path)).startswith("hydra.sweep.dir=many: another process writes there")
        assert digest(tmp_path) == before
        done(inside(*typed, "hydra.sweep.subdir=seed_${seed}", cwd=tmp_path))  # which get in nobody's way
    finally:
        lock.release()
    assert folders(tmp_path) == ["many/seed_0", "many/seed_1"]


def test_the_time_is_read_once(inside: Inside, tmp_path: Path) -> None:
    name = "name=${hydra:runtime.choices.optimizer}_${now:%f}"
    done(inside(*SHORT, name, "hydra.run.dir=runs/${name},${now:%S-%f}", cwd=tmp_path))
    (place,) = (tmp_path / "runs").iterdir()
    stored = OmegaConf.load(place / ".hydra" / "config.yaml")
    assert place.name.startswith(f"{stored.name},")
    assert place.name.endswith(stored.name.partition("_")[2])


@pytest.mark.parametrize("choice", ["disabled", "none", "stdout"])
def test_hydras_own_choices_of_logging_work(choice: str, inside: Inside, tmp_path: Path) -> None:
    done(inside(*SHORT, f"hydra/job_logging={choice}", "hydra/hydra_logging=none", "hydra.run.dir=r", cwd=tmp_path))
    assert folders(tmp_path) == ["r"]
    assert not (tmp_path / "r" / "train.log").exists()


def test_the_jobs_own_folder_and_environment(inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("grokplane.app.entry.execute", _watched(execute, seen))
    told = done(inside(*SHORT, "--run", "hydra.job.chdir=true", "+hydra.job.env_set.SEEN=yes", cwd=tmp_path))
    (place,) = folders(tmp_path)
    assert seen == [("yes", str(tmp_path / place))]
    assert f"{tmp_path / place} (finished" in told.stdout


def test_stacks_have_the_jobs_environment(inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("grokplane.sweep.stack_job.execute", _watched(execute, seen))
    typed = (*SHORT, "hydra.mode=MULTIRUN", "seed=0,1", "hydra/launcher=stacked", "hydra.sweep.dir=s")
    done(inside(*typed, "+hydra.job.env_set.SEEN=yes", "hydra.launcher.max_members=2", cwd=tmp_path))
    assert folders(tmp_path) == ["s/0", "s/1"]
    assert seen == [("yes", str(tmp_path))]
    assert "SEEN" not in os.environ


def _watched(train, seen):
    """What trains, which notes its environment and its working folder."""

    def watched(*args, **kwargs):
        seen.append((os.environ.get("SEEN"), os.getcwd()))
        return train(*args, **kwargs)

    return watched


def test_a_config_folder_of_ones_own_and_the_sweepers_parameters(inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "my, configs" / "experiment").mkdir(parents=True)
    text = "# @package _global_\nname: mine\ntrain:\n  steps: 3\nhydra:\n  sweeper:\n    params:\n      seed: 5,6\n"
    (tmp_path / "my, configs" / "experiment" / "mine.yaml").write_text(text)
    typed = ("-m", *SHORT[:-2], "hydra.sweep.dir=s", "--config-dir", "my, configs", "experiment=mine")
    done(inside(*typed, "--config-name=train_mnist", cwd=tmp_path))
    assert folders(tmp_path) == ["s/0", "s/1"]
    stored = [OmegaConf.load(tmp_path / "s" / job / ".hydra" / "config.yaml") for job in "01"]
    assert [(one.name, one.seed, one.train.steps) for one in stored] == [("mine", 5, 3), ("mine", 6, 3)]


@pytest.mark.parametrize("typed", [("--cfg=hydra", "-p", "hydra.run"), ("--info=defaults",), ("-sc", "install=bash")])
def test_what_prints_writes_nothing(typed: tuple[str, ...], inside: Inside, tmp_path: Path) -> None:
    assert done(inside("seed=3", *typed, cwd=tmp_path) if typed[0] != "-sc" else inside(*typed, cwd=tmp_path)).stdout
    assert digest(tmp_path) == {}
