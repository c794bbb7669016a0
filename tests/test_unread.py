"""A key that no run of a call would read is refused: typed, swept in a multirun, fixed or varied by a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import QUIET, TINY, Inside, digest, refusal
from sweeping import SWEEP, sweep_file

from grokplane import config
from grokplane.app.jobs import check_trainable

SOON = ("train.steps=1", "record.wandb=disabled", "record.figures=false")  # a short run, if it is not refused
DIGITS = ("data=digits", "model.embedding=none", "loss=mse")
CONV = ("data=digits", "model=conv", "loss=mse", "model.channels=[]")
STUDENT = ("experiment=teacher_student",)
# The arguments, why the last one is not read, and another argument with which it would be.
CASES = [
    (("log.points_per_decade=4", "log.every=5"), "log.points_per_decade=4 replaces it", "log.dense_steps=5"),
    (("train.sampling=shuffled",), "uses every point", "train.batch_size=20"),
    (("model.noise_scale=relative",), "model.noise_sigma=0 is no noise", "model.noise_sigma=0.1"),
    (("model.noise_in=train",), "model.noise_sigma=0 is no noise", "model.noise_sigma=0.1"),
    (("model.noise_sigma=0.1", "model.noise_flow=measured"), "only for mi=compressed", "model.noise_in=eval"),
    (("model=transformer", "model.layers=1", "model.causal=false"), "sees all others", "model.bias=false"),
    (("model.hidden=[]", "model.activation=Tanh"), "no hidden layer", "model.init=normal"),
    (("model.hidden=[]", "model.dropout=0.1"), "no hidden layer", "model.init=normal"),
    (("model.scale_lr=true",), "leaves the learning rate", "model.output_scale=2"),
    ((*CONV, "model.kernel=5"), "no convolution", "model.activation=Tanh"),
    ((*CONV, "model.hidden=[]", "model.activation=Tanh"), "no layer but the last", "model.init=normal"),
    (("optimizer=sgd", "optimizer.nesterov=false"), "no momentum", "optimizer.momentum=0.5"),
    (("optimizer=muon", "optimizer.momentum=0", "optimizer.nesterov=false"), "no momentum", "optimizer.iterations=3"),
    ((*STUDENT, "data.hidden=[]", "data.activation=ReLU"), "no hidden layer", "data.outputs=2"),
    (
        (*DIGITS, "mi=infoplane", "mi.label_estimator.k=30"),
        "only the first neighbour counts",
        "mi.input_estimator.k=30",
    ),
    ((*DIGITS, "mi=compressed", "mi.code=pca", "mi.cache=x"), "mi.code=pca is not trained", "mi.code_dim=5"),
    (("hydra.sweep.dir=x",), "this call is one run", "name=x"),
    (("hydra/launcher=stacked",), "this call is one run", "name=x"),
]
MULTIRUNS = [
    (("model.noise_sigma=0", "model.noise_scale=absolute,relative"), "model.noise_sigma=0 is no noise"),
    ((*DIGITS, "mi=compressed", "mi.code=pca", "mi.code_steps=3,4"), "mi.code=pca is not trained"),
    (("seed=0,1", "hydra.run.dir=x"), "land under hydra.sweep.dir"),
    (("hydra/launcher=stacked", "hydra.launcher.submitit.mem_gb=3"), "hydra.launcher.executor=local trains"),
]


@pytest.mark.parametrize(("typed", "why", "read"), CASES, ids=[" ".join(typed) for typed, *_ in CASES])
def test_what_would_not_be_read_is_refused(
    typed: tuple[str, ...], why: str, read: str, tmp_path: Path, inside: Inside
) -> None:
    line = refusal(inside(*SOON, *typed, cwd=tmp_path))
    said, _, rest = line.partition(": would not be read, as ")
    assert said in typed
    assert why in rest
    assert line.endswith("; leave it out")
    assert digest(tmp_path) == {}
    if read.startswith(("hydra.", "name=")):
        return
    unread = check_trainable(config.compose([*typed[:-1], read]))
    assert read.partition("=")[0] not in unread


@pytest.mark.parametrize(("typed", "why"), MULTIRUNS, ids=[" ".join(typed) for typed, _ in MULTIRUNS])
def test_what_no_job_of_a_multirun_reads_is_refused(
    typed: tuple[str, ...], why: str, tmp_path: Path, inside: Inside
) -> None:
    line = refusal(inside("-m", *SOON, *typed, cwd=tmp_path))
    assert line.startswith(f"{typed[-1]}: would not be read, as ")
    assert why in line
    assert digest(tmp_path) == {}


@pytest.mark.parametrize("swept", [{"values": ["absolute", "relative"]}, {"value": "relative"}])
def test_a_sweep_of_a_key_that_no_cell_reads_is_refused(
    swept: dict[str, object], tmp_path: Path, inside: Inside
) -> None:
    sweep_file(tmp_path, parameters={"seed": {"values": [0, 1]}, "model.noise_scale": swept})
    before = digest(tmp_path)
    line = refusal(inside("tiny.yaml", cwd=tmp_path, program=SWEEP))
    assert line.startswith("tiny.yaml: model.noise_scale: would not be read, as model.noise_sigma=0 is no noise")
    assert digest(tmp_path) == before


@pytest.mark.parametrize("typed", ["model.noise_scale=relative", "hydra.launcher.submitit.mem_gb=3"])
def test_what_is_typed_of_a_sweep_and_no_cell_reads_is_refused(typed: str, tmp_path: Path, inside: Inside) -> None:
    sweep_file(tmp_path)
    before = digest(tmp_path)
    assert f"{typed}: would not be read, as " in refusal(inside("tiny.yaml", typed, cwd=tmp_path, program=SWEEP))
    assert digest(tmp_path) == before


def test_a_key_that_one_cell_reads_may_be_swept(tmp_path: Path, inside: Inside) -> None:
    noise = {"model.noise_sigma": {"values": [0.0, 0.1]}, "model.noise_scale": {"values": ["absolute", "relative"]}}
    sweep_file(tmp_path, parameters=noise)
    done = inside("tiny.yaml", "--dry-run", "--max-members=4", cwd=tmp_path, program=SWEEP)
    assert done.returncode == 0, done.stderr


def test_fewer_steps_than_an_interrupted_sweep_has_are_refused(tmp_path: Path, inside: Inside) -> None:
    sweep_file(tmp_path)
    cell = tmp_path / "outputs" / "sweeps" / "tiny" / "seed=0"
    typed = (*TINY, *QUIET, "mi=off", "train.steps=60", "log.every=20", "log.dense_steps=2", "seed=0")
    assert inside(*typed, f"hydra.run.dir='{cell}'", cwd=tmp_path).returncode == 0
    told = (cell / "summary.json").read_text()
    (cell / "summary.json").write_text(told.replace('"finished"', '"interrupted"'))  # as after a signal
    sweep_file(tmp_path, command=None, parameters={"seed": {"values": [0, 1]}})
    kept = ("record.wandb=disabled", *(one for one in typed if not one.startswith(("seed", "train.steps"))))
    before = digest(tmp_path)
    line = refusal(inside("tiny.yaml", *kept, "train.steps=20", cwd=tmp_path, program=SWEEP))
    assert line.startswith("train.steps=20: cells that have begun can only be trained further, and seed=0 has 60; ")
    assert digest(tmp_path) == before
