"""Every file of configs/ through the command line for a few steps, and the ways in which a run can end."""

from __future__ import annotations

import importlib
import math
from concurrent.futures import Future
from pathlib import Path

import pytest
from command import QUIET, TINY, Call, Inside, Submit, call, digest, finished, rows, summary
from idx_files import write_images

from grokplane import config
from grokplane.data.operations import OPERATIONS
from grokplane.models.layers import ACTIVATIONS
from grokplane.record import load
from grokplane.train import train

FEW = (*TINY, *QUIET, "mi=off", "train.steps=2", "log.dense_steps=1", "train.checkpoint_every=100")
EXPERIMENTS = config.group_names("experiment")
# What is drawn besides the curves.
DRAWN = {"peluche": "information_accuracy.png, information_map.png, information_plane.gif"}
MORE = (
    "data/split=ordered",
    "model.embedding=onehot",
    "model.embedding_dim=null",
    "schedule=linear_warmup",
    "log.points_per_decade=4",
)
# Each is one multirun and its number of jobs.
SWEEPS = [
    (7, ("optimizer=glob(*)",)),
    (4, ("loss=glob(*)",)),
    (11, ("rules=" + ",".join(f"[{name}]" for name in config.group_names("rules") if name != "ablation"),)),
    (
        6,
        (
            "model.bias=true,false,[true,false]",
            "model.init=gaussian",
            "model.init_sigma=0.1,null",
            "model.activation=square",
            "model.embedding=onehot_sum",
            "model.embedding_dim=null",
            "model.dropout=0.2",
        ),
    ),
    (4, ("model.centred=true,false", "model.output_scale=0.5,3", "model.scale_lr=true")),
    (6, ("model.init=torch,kaiming,normal", "train.sampling=shuffled,replacement", "train.batch_size=5", *MORE)),
]
# What need not go through a process of its own: every choice of the keys that name something.
NAMED = [
    *(
        [f"data.operation={name}", "data/split=random", "data.layout=equation", "schedule=cosine"]
        for name in OPERATIONS
    ),
    ["rules=[ablation]", "rules.ablation.frequencies=[2]"],
    *([f"model.activation={name}", "model.embedding=concat", "data.label_noise=0.2"] for name in ACTIVATIONS),
]
DIVERGING = (*TINY, "record.wandb=disabled", "optimizer=sgd", "optimizer.lr=1e6", "loss=mse", "train.steps=50")
EARLY = (
    "data.p=2",
    "data/split=random",
    "grok.threshold=0.3",
    "grok.stop_after=7",
    "log.dense_steps=0",
    "log.every=5",
    "train.steps=500",
)


@pytest.fixture(scope="module", autouse=True)
def swept(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Future[Call]]]:
    folders = [tmp_path_factory.mktemp("swept") for _ in SWEEPS]
    return [
        (cwd / "sweep", submit(finished, "-m", *FEW, *typed, "hydra.sweep.dir=sweep", cwd=cwd))
        for cwd, (_, typed) in zip(folders, SWEEPS, strict=True)
    ]


@pytest.fixture(scope="module", autouse=True)
def experiments(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Future[Call]]]:
    """Each one's folder: those that are drawn are jobs of one multirun, the others of three others."""
    cwd = tmp_path_factory.mktemp("experiments")
    write_images(cwd / "data" / "MNIST" / "raw", train=1_200, test=50)
    plain = [name for name in EXPERIMENTS if name not in DRAWN]
    found = {}
    undrawn = [(f"plain_{number}", plain[number::3], ("record.figures=false",)) for number in range(3)]
    for sweep, names, typed in (("drawn", list(DRAWN), ()), *undrawn):
        several = (
            f"experiment={','.join(names)}",
            "debug=default",
            "train.steps=5",
            "log.dense_steps=0",
            f"hydra.sweep.dir={sweep}",
            *typed,
        )
        done = submit(finished, "-m", *several, cwd=cwd)
        found |= {name: (cwd / sweep / str(number), done) for number, name in enumerate(names)}
    return found


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs(name: str, experiments: dict[str, tuple[Path, Future[Call]]]) -> None:
    folder, done = experiments[name]
    assert f"{folder.parent.name}/{folder.name} (finished at step 5)" in done.result().stdout
    assert summary(folder)["status"] == "finished"
    assert [row["step"] for row in rows(folder)] == [0, 5]
    if name in DRAWN:
        assert (folder / "figures" / "curves.png").stat().st_size > 10_000
        assert f"figures: curves.png, {DRAWN[name]}" in done.result().stdout


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_informations_of_every_experiment_obey_their_laws(
    name: str, experiments: dict[str, tuple[Path, Future[Call]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    folder, done = experiments[name]
    assert done.result().returncode == 0
    checked, broken = importlib.import_module("laws").broken(load(folder))
    assert broken == []
    assert checked > 250


@pytest.mark.parametrize("number", range(len(SWEEPS)), ids=[typed[0] for _, typed in SWEEPS])
def test_every_choice_runs(swept: list[tuple[Path, Future[Call]]], number: int) -> None:
    folder, done = swept[number]
    jobs = SWEEPS[number][0]
    assert done.result().stdout.count("(finished at step 2)") == jobs
    for job in range(jobs):
        assert summary(folder / str(job))["status"] == "finished"
    assert not (folder / str(jobs)).exists()


@pytest.mark.parametrize("typed", NAMED, ids=[typed[0] for typed in NAMED])
def test_every_named_choice_trains(typed: list[str]) -> None:
    *_, last = train([config.member(config.compose([*FEW, *typed]))])
    assert last.step == 2
    assert all(math.isfinite(last.records[0][name]) for name in ("Loss/train", "Loss/test", "WN/global"))


def test_a_diverging_run_ends_with_3_and_its_step(tmp_path: Path, inside: Inside) -> None:
    done = call(*DIVERGING, "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 3
    recorded = summary(tmp_path / "run")
    assert recorded["status"] == "diverged"
    assert 1 <= recorded["diverged"] < 50
    assert f"training loss not finite at step {recorded['diverged']}" in done.stdout
    assert "Traceback" not in done.stderr
    before = digest(tmp_path)
    again = inside("hydra.run.dir=run", "train.resume=true", cwd=tmp_path)
    assert again.returncode == 3
    assert again.stdout.startswith(f"run: diverged at step {recorded['diverged']}")
    assert again.stderr == ""
    assert digest(tmp_path) == before


def test_a_run_that_was_to_stop_after_grokking_is_finished_early(tmp_path: Path, inside: Inside) -> None:
    inside(*EARLY, *QUIET, "mi=off", "model.hidden=[8]", "hydra.run.dir=run", cwd=tmp_path)
    recorded = summary(tmp_path / "run")
    assert recorded["status"] == "finished"
    assert recorded["steps"] < 500
    assert recorded["steps"] == recorded["grok"]["test_step"] + 10  # the first log point 7 steps later
    assert recorded["grok"]["threshold"] == 0.3


def test_a_run_for_which_the_wandb_server_is_not_there_is_recorded_offline(tmp_path: Path) -> None:
    nowhere = {"WANDB_MODE": "online", "WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}
    done = finished(*TINY, "train.steps=3", "record.figures=false", "hydra.run.dir=run", cwd=tmp_path, **nowhere)
    assert "recording offline" in done.stderr
    assert list((tmp_path / "run" / "wandb").rglob("run-*.wandb"))
    first = summary(tmp_path / "run")
    assert first["status"] == "finished"
    finished("train.resume=true", "train.steps=6", "hydra.run.dir=run", cwd=tmp_path, WANDB_MODE="offline")
    assert summary(tmp_path / "run")["steps"] == 6
    assert summary(tmp_path / "run")["wandb_id"] == first["wandb_id"]
