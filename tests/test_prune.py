"""`python -m grokplane.prune` against pruning by hand: torch's topk on the checkpoint's tensors, a plain forward."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from command import PRECISE, last_checkpoint, state, summary, without_waiting
from matplotlib.image import imread
from torch import Tensor, nn

from grokplane import config, plot
from grokplane import prune as command
from grokplane.app import at_once, execute
from grokplane.app.pruning import Pruned, prune, sparsities
from grokplane.app.runs import load_trained
from grokplane.prune import main

P7 = ("data.p=7", "data.train_fraction=0.5", "seed=3")
PERCEPTRON = (*P7, "model.hidden=[12,8]", "model.embedding_dim=8")
RUNS = {
    "noise": (*PERCEPTRON, "data.label_noise=4", "train.steps=600"),
    "transformer": (
        *P7,
        "model=transformer",
        "model.layers=1",
        "model.width=8",
        "model.mlp_width=12",
        "train.steps=80",
    ),
    "regression": (
        "experiment=teacher_student",
        "data.train_points=20",
        "data.tolerance=0.5",
        "model.hidden=[6]",
        "train.steps=100",
    ),
    "alone": (
        *P7,
        "data/split=random",
        "model=module",
        "model.module._target_=test_prune.Alone",
        "+model.module.width=8",
    ),
    "bias": (*P7, "model=module", "model.module._target_=test_prune.Bias"),
}


class Alone(nn.Module):
    """A module that looks at a value, which vmap cannot do."""

    def __init__(self, vocabulary: int, outputs: int, width: int) -> None:
        super().__init__()
        self.embedding, self.linear = nn.Embedding(vocabulary, width), nn.Linear(width, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens).sum(1)
        return self.linear(x if x.sum().item() > 0 else x + 1)


class Bias(nn.Module):
    """A module that has no weight."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.bias.expand(len(tokens), -1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one trained run of each kind."""
    folder = tmp_path_factory.mktemp("runs")
    for name, overrides in RUNS.items():
        execute([config.compose(["train.steps=10", *PRECISE, *overrides])], [folder / name])
    return folder


def zeroed(model: dict[str, Tensor], names: list[str], share: float) -> dict[str, Tensor]:
    """A model whose smallest weights are zero: what is not among the largest of all the named tensors."""
    weights = torch.cat([model[name].flatten() for name in names])
    count = len(weights) - round(share * len(weights))
    kept = torch.zeros_like(weights).index_fill(0, weights.abs().topk(count).indices, 1)
    parts = (weights * kept).split([model[name].numel() for name in names])
    return model | {name: part.view_as(model[name]) for name, part in zip(names, parts, strict=True)}


def accuracies(folder: Path, model: dict[str, Tensor]) -> list[float]:
    """Accuracy of a perceptron of `PERCEPTRON` on both subsets of its own split, training answers with their noise."""
    examples = load_trained(folder).member.data.examples(3)
    x = model["input.embedding.weight"][examples.table.inputs].sum(1)
    for number in range(2):
        x = F.relu(F.linear(x, model[f"linears.{number}.weight"], model[f"linears.{number}.bias"]))
    said = F.linear(x, model["linears.2.weight"], model["linears.2.bias"]).argmax(1)
    right = said[examples.train] == examples.train_targets, (said == examples.table.targets)[examples.test]
    return [part.double().mean().item() for part in right]


def told(levels: list[dict[str, Any]]) -> list[list[float]]:
    return [[level["Acc/train"], level["Acc/test"]] for level in levels]


MATRICES = ["input.embedding.weight", *(f"linears.{number}.weight" for number in range(3))]


@pytest.mark.parametrize("layers", [None, ["layer 1"], ["layer 3", "embedding"]])
def test_every_level_is_what_zeroing_by_hand_gives(runs: Path, layers: list[str] | None):
    folder, shares = runs / "noise", sparsities(21)
    names = {"embedding": MATRICES[0], "layer 1": MATRICES[1], "layer 2": MATRICES[2], "layer 3": MATRICES[3]}
    chosen = [name for layer, name in names.items() if layers is None or layer in layers]
    found, model = prune(load_trained(folder), shares, layers), state(folder)["model"]
    expected = [accuracies(folder, zeroed(model, chosen, share)) for share in shares]
    torch.testing.assert_close(torch.tensor(told(found.levels)), torch.tensor(expected))
    assert len(set(map(tuple, expected))) > 5
    assert found.weights == sum(model[name].numel() for name in chosen)
    assert found.weights + found.others == sum(value.numel() for value in model.values())
    assert [level["zeroed"] for level in found.levels] == [round(share * found.weights) for share in shares]
    assert [level["sparsity"] for level in found.levels] == pytest.approx(shares, abs=0.5 / found.weights)


@pytest.mark.parametrize("name", ["noise", "transformer", "regression", "alone"])
def test_sparsity_zero_is_the_run_as_it_ended_and_only_biases_and_norms_outlive_sparsity_one(runs: Path, name: str):
    run, last = load_trained(runs / name, "test_prune.Alone"), summary(runs / name)["last"]
    first, final = prune(run, [0.0, 1.0]).levels
    assert (first["Acc/train"], first["Acc/test"]) == (last["Acc/train"], last["Acc/test"])
    assert first["Acc/train"] > 0
    one_answer = prune(run, [1.0]).levels  # the same to every question
    examples = run.member.data.examples(run.member.seed)
    if name != "regression":
        shares = [
            answers.bincount(minlength=8).double() / len(answers)
            for answers in (examples.train_targets, examples.table.targets[examples.test])
        ]
        assert (final["Acc/train"], final["Acc/test"]) in {(float(a), float(b)) for a, b in zip(*shares, strict=True)}
    assert told(one_answer) == told([final])


@pytest.mark.parametrize("name", ["noise", "transformer", "regression"])
def test_levels_in_small_stacks_are_those_in_a_large_one(runs: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    run, sizes, stack = load_trained(runs / name), [], type(load_trained(runs / name)).stack
    monkeypatch.setattr(type(run), "stack", lambda self, copies=1: sizes.append(copies) or stack(self, copies))
    large = prune(run, sparsities(9))
    assert sizes[-1] == 9
    monkeypatch.setattr(at_once, "MEMORY", 1)
    small = prune(run, sparsities(9))
    assert sizes[-9:] == [1] * 9
    assert small == large


def test_the_command_writes_what_it_prints(runs: Path, capsys: pytest.CaptureFixture[str]):
    call = [sys.executable, "-W", "error", "-m", "grokplane.prune", "noise"]
    done = subprocess.run(call, cwd=runs, capture_output=True, text=True, timeout=120, check=True)
    assert without_waiting(done.stderr) == ""
    title, _, head, *lines, _, verdict, where = done.stdout.splitlines()
    assert title == "noise: finished at step 600; 304 weights can be pruned, 27 other parameters are kept"
    assert re.split(r"\s{2,}", head) == ["sparsity", "weights left", "Acc/train", "Acc/test"]
    with open(runs / "noise" / "prune.csv") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert len(rows) == len(lines) == 41
    for line, row in zip(lines, rows, strict=True):
        numbers = [row["sparsity"], 304 - row["zeroed"], row["Acc/train"], row["Acc/test"]]
        assert list(map(float, line.split())) == pytest.approx(numbers, abs=5.1e-5)
    assert where == "table: noise/prune.csv, figure: noise/figures/prune.png"
    assert imread(runs / "noise" / "figures" / "prune.png").std() > 0.05
    assert main([str(runs / "noise"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["levels"] == rows
    assert (found["run"], found["step"], found["weights"]) == (str(runs / "noise"), 600, 304)
    assert verdict.split(": ")[1].startswith(f"{found['largest_sparsity']:.4f}")


def test_the_largest_sparsity_is_the_last_within_a_hundredth_and_a_dip_before_it_is_told():
    def levels(*accuracies: float) -> Pruned:
        return Pruned([{"sparsity": i / 4, "Acc/test": accuracy} for i, accuracy in enumerate(accuracies)], 4, 0)

    found = {
        0.25: levels(0.9, 0.95, 0.8899, 0.5, 0.1),
        0.5: levels(0.9, 0.9, 0.89, 0.5, 0.1),
        0.75: levels(0.9, 0.5, 0.89, 0.91, 0.1),
        0.0: levels(0.9, 0.5, 0.5, 0.5, 0.5),
        1.0: levels(0.0, 0.0, 0.0, 0.0, 0.0),
    }
    assert {share: pruned.kept["sparsity"] for share, pruned in found.items()} == {share: share for share in found}
    assert "falls to 0.5000 at 0.2500" in command._verdict(found[0.75])
    assert all("falls to" not in command._verdict(pruned) for share, pruned in found.items() if share != 0.75)


@pytest.mark.parametrize("steps", [3, 4, 9, 41])
def test_sparsities_rise_from_none_to_all_with_half_of_the_steps_above_nine_tenths(steps: int):
    found = sparsities(steps)
    assert len(found) == steps
    assert (found[0], found[-1]) == (0, 1)
    assert sum(share >= 0.9 for share in found) == (steps - 1) - (steps - 1) // 2 + 1
    gaps = [b - a for a, b in pairwise(found)]
    assert min(gaps) > 0
    assert max(gaps[(steps - 1) // 2 :]) == pytest.approx(min(gaps[(steps - 1) // 2 :]))


def test_the_figure_draws_both_subsets_and_marks_the_sparsity():
    rows = pd.DataFrame({"sparsity": [1, 0, 0.9], "Acc/train": [0.1, 1, 0.9], "Acc/test": [0.2, 0.8, 0.795]})
    figure = plot.prune(rows, kept=0.9, tolerance=0.01, title="a $run_1")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    lines = {str(line.get_label()): np.array([line.get_xdata(), line.get_ydata()]).tolist() for line in axes.lines}
    assert lines["train"] == [[0, 0.9, 1], [1, 0.9, 0.1]]
    assert lines["held-out"] == [[0, 0.9, 1], [0.8, 0.795, 0.2]]
    assert "held-out, unpruned: 0.8" in lines
    assert [[0.9, 0.9], [0, 1]] in lines.values()
    assert [text.get_text() for text in axes.texts] == ["held-out within 0.01 of unpruned: up to sparsity 0.9"]
    places = axes.transData.transform([(share, 0) for share in (0, 0.45, 0.9, 0.95, 1)])[:, 0]
    gaps = places[1:] - places[:-1]
    assert gaps == pytest.approx([gaps[0]] * 4)
    bare = plot.prune(rows).axes[0]
    assert (len(bare.lines), len(bare.texts)) == (2, 0)


@pytest.mark.parametrize(
    ("name", "arguments", "beginning", "allowed"),
    [
        ("noise", ["--layers", "layer 9"], "--layers=layer 9: ", "embedding, layer 1, layer 2, layer 3"),
        ("transformer", ["--layers", "norm"], "--layers=norm: ", "layer 1 attention"),
        ("noise", ["--steps", "2"], "argument --steps: ", "at least 3"),
        ("noise", ["--steps", "many"], "argument --steps: ", "whole number"),
        ("noise", ["again"], "unrecognized arguments: again", "--help"),
        ("bias", ["--module", "test_prune.Bias"], "RUN=", "no weight matrix"),
        ("nothing", [], "RUN=", "no such folder"),
    ],
)
def test_what_cannot_be_pruned_is_refused_in_one_line(
    runs: Path, capsys: pytest.CaptureFixture[str], name: str, arguments: list[str], beginning: str, allowed: str
):
    assert main([str(runs / name), *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(beginning)
    assert allowed in err


def test_a_folder_that_cannot_be_written_is_told_in_one_line(runs: Path, capsys: pytest.CaptureFixture[str]):
    (runs / "regression" / "figures").write_text("a file in the way")
    assert main([str(runs / "regression"), "--steps", "3"]) == 2
    out, err = capsys.readouterr()
    assert "sparsity" in out
    assert "table:" not in out
    assert err.count("\n") == 1
    assert "cannot be written there" in err


def test_a_report_that_is_lost_is_told(runs: Path):
    call = f"{sys.executable} -m grokplane.prune noise --steps 3 --json > /dev/full"
    done = subprocess.run(call, shell=True, cwd=runs, capture_output=True, text=True)
    assert done.returncode == 2
    assert without_waiting(done.stderr).splitlines()[1:] == ["the report is lost; the table is in noise/prune.csv"]


def test_pruning_changes_no_checkpoint(runs: Path):
    before = last_checkpoint(runs / "transformer").read_bytes()
    assert main([str(runs / "transformer"), "--steps", "3"]) == 0
    assert last_checkpoint(runs / "transformer").read_bytes() == before
