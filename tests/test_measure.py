"""`python -m grokplane.measure`: metrics over saved checkpoints, beside those that training recorded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from command import PRECISE, Inside, rows

from grokplane import config, open_run
from grokplane.app import execute, measuring
from grokplane.measure import main
from grokplane.record import FolderLock, load

RECORDED = "loss,accuracy,perplexity,weight_norms,gradients,activations,within_class,sparsity,logit_scale,learning_rate"
FEW = ("metrics=[loss]", "log.dense_steps=2", "log.every=8", "train.steps=40", "train.checkpoint_every=12")
TINY = (
    *PRECISE,
    "data.p=7",
    "data.train_fraction=0.5",
    "model.hidden=[8]",
    "seed=3",
    "train.keep_checkpoints=log_points",
)
RUNS = {
    "whole": ("schedule=linear_warmup", "optimizer.weight_decay=0.1"),
    "noisy": ("model.noise_sigma=0.2",),
    "unordered": ("data.operation=sub", "data/split=random", "train.dtype=float32"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that recorded losses and accuracies alone, and the same runs with many metrics, below `full/`."""
    folder = tmp_path_factory.mktemp("runs")
    for name, overrides in RUNS.items():
        for place, metrics in ((name, "loss"), (f"full/{name}", RECORDED)):
            typed = [*TINY, *FEW, *overrides, f"metrics=[{metrics}]"]
            execute([config.compose(typed)], [folder / place])
    return folder


@pytest.fixture
def folder(runs: Path, tmp_path: Path) -> Path:
    """A copy of the first run."""
    return shutil.copytree(runs / "whole", tmp_path / "run")


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "measured.jsonl").read_text().splitlines()]


def column(folder: Path, name: str) -> dict[int, float]:
    """A metric of the run by its step."""
    frame = load(folder)
    return dict(zip(frame["step"].tolist(), frame[name].tolist(), strict=True))


@pytest.mark.parametrize("name", RUNS)
def test_values_are_those_that_training_records(runs: Path, tmp_path: Path, name: str):
    folder = shutil.copytree(runs / name, tmp_path / "run")
    assert main([str(folder), "--metrics", RECORDED]) == 0
    joined = {row["step"]: row for row in load(folder).to_dict("records")}
    rel, least = (2e-5, 1e-6) if name == "unordered" else (1e-9, 1e-12)
    recorded = rows(runs / "full" / name)
    assert [row["step"] for row in recorded] == [0, 1, 8, 16, 24, 32, 40]
    for row in recorded:
        for key, value in row.items():
            assert joined[row["step"]][key] == pytest.approx(value, rel=rel, abs=least), (key, row["step"])
    assert list(joined) == sorted([*(row["step"] for row in recorded), 2, 4, 12, 36])
    assert all(row["WN/total"] > 0 for row in joined.values())
    measured = {row["step"]: row["values"]["Loss/train"] for row in lines(folder) if "Loss/train" in row["values"]}
    for row in recorded:  # also of what both files have
        assert measured[row["step"]] == pytest.approx(row["Loss/train"], rel=rel, abs=least)


def test_only_what_was_asked_for_and_recorded_values_stay(folder: Path):
    assert main([str(folder), "--metrics", "accuracy", "--steps", "8", "36"]) == 0
    assert [(row["step"], row["metric"]) for row in lines(folder)] == [(8, "Accuracy()"), (36, "Accuracy()")]
    assert list(lines(folder)[0]["values"]) == ["Acc/train", "Acc/test", "Acc/unseen"]
    spoilt = (folder / "measured.jsonl").read_text().replace('"Acc/train": ', '"Acc/train": 5')
    (folder / "measured.jsonl").write_text(spoilt)
    accuracies = column(folder, "Acc/train")
    assert accuracies[8] < 1 < accuracies[36]


def test_finished_work_is_not_repeated(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    stacked: list[list[int]] = []
    real = measuring._observed
    monkeypatch.setattr(measuring, "_observed", lambda part: stacked.append([one.step for one in part]) or real(part))
    assert main([str(folder), "--metrics", "sparsity", "--steps", "8", "16"]) == 0
    assert main([str(folder), "--metrics", "sparsity,logit_scale", "--steps", "8", "16", "32"]) == 0
    assert main([str(folder), "--metrics", "logit_scale,sparsity", "--steps", "32", "8"]) == 0
    assert stacked == [[8, 16], [8, 16, 32]]  # once for all metrics
    assert len(lines(folder)) == 6
    assert capsys.readouterr().out.splitlines()[-1] == f"{folder}: 0 checkpoints measured, 2 were measured before"


def test_a_call_that_was_killed_is_taken_up(folder: Path):
    assert main([str(folder), "--metrics", "sparsity"]) == 0
    whole = (folder / "measured.jsonl").read_bytes()
    (folder / "measured.jsonl").write_bytes(whole[:-20])
    assert len(load(folder)) == 11
    assert main([str(folder), "--metrics", "sparsity"]) == 0
    assert [row["step"] for row in lines(folder)] == open_run(folder).steps
    assert lines(folder)[:-1] == [json.loads(line) for line in whole.splitlines()[:-1]]
    assert lines(folder)[-1]["values"] == pytest.approx(json.loads(whole.splitlines()[-1])["values"])


def test_memory_is_bounded_and_values_do_not_depend_on_it(folder: Path, monkeypatch: pytest.MonkeyPatch):
    assert main([str(folder), "--metrics", "weight_norms,learning_rate"]) == 0
    together = {(row["step"], row["metric"]): row["values"] for row in lines(folder)}
    (folder / "measured.jsonl").unlink()
    monkeypatch.setattr("grokplane.app.at_once.MEMORY", 1)
    sizes: list[int] = []
    real = measuring.stack_of
    monkeypatch.setattr(measuring, "stack_of", lambda part: sizes.append(len(part)) or real(part))
    assert main([str(folder), "--metrics", "weight_norms,learning_rate"]) == 0
    assert set(sizes) == {1}
    assert {(row["step"], row["metric"]): row["values"] for row in lines(folder)} == {
        key: pytest.approx(values, rel=1e-12) for key, values in together.items()
    }


def test_several_runs_and_the_keys_of_their_configs(runs: Path, tmp_path: Path):
    shutil.copytree(runs / "whole", tmp_path / "runs/a")
    one = config.compose([*TINY, *FEW, "train.steps=4", "metrics=[loss,sparsity]", "metrics.sparsity.threshold=0.5"])
    execute([one], [tmp_path / "runs/b"])
    assert main([str(tmp_path / "runs"), "--metrics", "sparsity", "--steps", "4"]) == 0
    assert [lines(tmp_path / "runs" / name)[0]["metric"] for name in "ab"] == [
        "Sparsity(threshold=0.01)",
        "Sparsity(threshold=0.5)",
    ]


def test_a_resumed_run_drops_what_was_measured_from_there_on_and_a_new_one_all(folder: Path, inside: Inside):
    assert main([str(folder), "--metrics", "sparsity"]) == 0
    call = inside("hydra.run.dir=run", "train.resume=true", "train.steps=44", "record.figures=false", cwd=folder.parent)
    assert call.returncode == 0, call.stderr
    assert [row["step"] for row in lines(folder)] == [0, 1, 2, 4, 8, 12, 16, 24, 32, 36]
    typed = (*TINY, *FEW, "train.overwrite=true", "hydra.run.dir=run", "record.figures=false")
    assert inside(*typed, cwd=folder.parent).returncode == 0
    assert not (folder / "measured.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--metrics", "sparsty"], "--metrics=sparsty: did you mean sparsity? allowed: "),
        (["--metrics", "step_time"], "--metrics=step_time: is the wall time of training"),
        (["--metrics", "loss", "--steps", "3"], "step=3: "),
        (["--metrics", "loss", "--steps", "x"], "argument --steps: must be a whole number"),
        ([], "the following arguments are required: --metrics"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
):
    assert main([str(folder), *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(line)
    assert not (folder / "measured.jsonl").exists()


def test_a_run_in_training_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    lock = FolderLock(folder)
    assert main([str(folder), "--metrics", "loss"]) == 2
    lock.release()
    assert "another process writes there" in capsys.readouterr().err


def test_noise_and_foreign_metrics_are_measured_step_by_step(runs: Path, tmp_path: Path):
    folder = shutil.copytree(runs / "noisy", tmp_path / "run")
    assert main([str(folder), "--metrics", "loss", "--steps", "8", "16"]) == 0
    recorded = {row["step"]: row["Loss/test"] for row in rows(folder)}
    for row in lines(folder):
        assert row["values"]["Loss/test"] == recorded[row["step"]]  # to the bit
    torch.set_num_threads(1)
