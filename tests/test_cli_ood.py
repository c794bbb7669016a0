"""Runs with an out-of-domain subset through the command line: what is shown, recorded, drawn and read again."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import QUIET, Forget, Inside, finished, rows, summary
from far import Far

from grokplane import open_run
from grokplane.data import RandomSplit
from grokplane.measure import main as measure
from grokplane.predict import main as predict
from grokplane.prune import main as prune
from grokplane.record import load, load_arrays

TYPED = (
    *("grokplane.plugins=[far]", "data=far", "model.hidden=[8]", "model.embedding_dim=8", "train.threads=1"),
    *("train.steps=40", "log.every=20", "log.dense_steps=2", "train.keep_checkpoints=all"),
    *("metrics=[loss,accuracy,spectrum,dead_neurons,table_outputs]", "grok.questions=ood", "grok.threshold=0.01"),
)
NAMES = {"Acc/ood", "Loss/ood", "Acc/ood/zero", "num_dead_nrns_ood/layer 1", "MI(L;a)@0.5_ood/layer 2", "H(X)_ood"}


@pytest.fixture
def plugged(tmp_path: Path, forget: Forget) -> Path:  # noqa: ARG001 (the process has no plug-in)
    """A working directory with the task as a plug-in."""
    shutil.copy(Path(__file__).with_name("far.py"), tmp_path)
    return tmp_path


def test_a_run_shows_records_draws_and_tracks_it(plugged: Path) -> None:
    done = finished(*TYPED, "mi.draws=4", "hydra.run.dir=run", cwd=plugged)
    assert re.search(r"loss train \S+ test \S+ ood \S+, accuracy train \S+ test \S+ ood \S+", done.stderr)
    assert re.search(r"generalised +step \d+: accuracy on the out-of-domain set reached 0.01", done.stdout)
    assert re.search(r"last .*Acc/test \S+ Acc/ood \S+ .*Loss/ood ", done.stdout)
    assert all(row.keys() >= NAMES for row in rows(plugged / "run"))
    assert set(load(plugged / "run").columns) >= NAMES
    assert summary(plugged / "run")["last"].keys() >= NAMES
    outputs = load_arrays(plugged / "run", "table_outputs")["outputs"]
    assert outputs.values.shape == (len(outputs.steps), 49, 7)
    assert np.isfinite(outputs.values).all()
    assert {len(one.steps) for one in load_arrays(plugged / "run", "spectrum").values()} == {len(outputs.steps)}
    (tracked,) = (plugged / "run" / "wandb").rglob("run-*.wandb")
    assert all(name.encode() in tracked.read_bytes() for name in NAMES)
    drawn = {path.name for path in (plugged / "run" / "figures").iterdir()}
    assert {"curves.png", "information_plane.png", "information_map_ood.png"} <= drawn


def test_every_command_and_a_sweep_take_it(plugged: Path, inside: Inside, capsys: pytest.CaptureFixture[str]) -> None:
    (plugged / "s.yaml").write_text(
        "program: train.py\nmethod: grid\nparameters: {data.near: {values: [4, 6]}, seed: {values: [0]}}\n"
    )
    done = inside("s.yaml", *TYPED, *QUIET, "mi=off", "hydra.sweep.dir=out", program="sweep.py", cwd=plugged)
    assert done.returncode == 0, done.stderr
    again = inside(
        "s.yaml", *TYPED, *QUIET, "mi=off", "hydra.sweep.dir=out", "--status", program="sweep.py", cwd=plugged
    )
    assert re.search(r"last.Acc/test +last.Acc/ood +grok.train_step", again.stdout)
    with open(plugged / "out" / "sweep.csv", newline="") as file:
        cells = list(csv.DictReader(file))
    runs = [plugged / "out" / cell["folder"] for cell in cells]
    last = [rows(run)[-1] for run in runs]
    assert [float(cell["last.Loss/ood"]) for cell in cells] == [row["Loss/ood"] for row in last]
    assert last[0]["Loss/ood"] != last[1]["Loss/ood"]
    assert summary(runs[0])["members"] == 2
    plugin = ("--plugin", "far")
    assert predict([str(runs[0]), "1,2", "6,6", "0,5", "--json", *plugin]) == 0
    told = [json.loads(line)["subset"] for line in capsys.readouterr().out.splitlines()]
    assert told[1:] == ["out of domain"] * 2
    assert told[0] in ("train", "held-out")
    assert prune([str(runs[0]), "--steps", "5", "--json", *plugin]) == 0
    levels = json.loads(capsys.readouterr().out)["levels"]
    assert levels[0]["Acc/ood"] == pytest.approx(last[0]["Acc/ood"])
    assert prune([str(runs[0]), "--steps", "5", *plugin]) == 0
    assert re.search(r"Acc/train +Acc/test +Acc/ood\n", capsys.readouterr().out)
    assert measure([str(runs[1]), "--metrics", "activations,loss", *plugin]) == 0
    frame = load(runs[1])
    found, like = (frame[f"activations_mean_{subset}/layer 1"].notna() for subset in ("ood", "eval"))
    assert found.tolist() == like.tolist()
    assert sum(found.tolist()) > 5
    opened = open_run(runs[1]).at(40)
    assert opened.ood is not None
    assert opened.ood.tolist() == Far(RandomSplit(), near=6).examples(0).ood.tolist()  # type: ignore[union-attr]
