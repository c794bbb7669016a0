"""`python -m grokplane.predict` against plain forward passes on the checkpoint's tensors."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from command import PRECISE, last_checkpoint, state, summary, without_waiting
from torch import Tensor

from grokplane import config
from grokplane.app import execute
from grokplane.app.runs import load_trained
from grokplane.losses import CrossEntropy, StableMax
from grokplane.predict import main, predict
from grokplane.record import FolderLock

P7 = ("data.p=7", "data.train_fraction=0.5", "model.hidden=[8]", "model.embedding_dim=8", "seed=3")
TRANSFORMER = (
    *("model=transformer", "model.layers=1", "model.heads=2", "model.width=8", "model.mlp_width=12"),
    *("model.norm=none", "model.bias=false", "data.p=7", "data/split=random", "data.layout=equals"),
    "data.train_fraction=0.5",
)
REGRESSION = ("experiment=teacher_student", "data.train_points=20", "data.test_points=30", "model.hidden=[6]", "seed=2")
RUNS = {
    "noise": (*P7, "train.steps=60", "data.label_noise=4", "train.batch_size=8"),
    "transformer": (*TRANSFORMER, "train.steps=30"),
    "stablemax": (*P7, "train.steps=40", "loss=stablemax"),
    "mse": (*P7, "train.steps=40", "loss=mse"),
    "regression": (*REGRESSION, "train.steps=20"),
    "parity": ("data=parity", "data.bits=5", "data.relevant=2", "data.points=20", "model.embedding=none"),
}
PAIRS = [(a, b) for a in range(7) for b in range(7)]
QUESTIONS = [f"{a},{b}" for a, b in PAIRS]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one trained run of each kind."""
    folder = tmp_path_factory.mktemp("runs")
    for name, overrides in RUNS.items():
        execute([config.compose(["train.steps=10", *PRECISE, *overrides])], [folder / name])
    return folder


def test_a_run_of_an_older_version_that_measured_otherwise_is_asked_all_the_same(runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(runs / "mse", folder)
    path = last_checkpoint(folder)
    stored = torch.load(path, weights_only=True)
    stored["config"]["mi"] = {"_target_": "grokplane.metrics.information.Information", "token_rows": 500}
    torch.save(stored, path)
    assert load_trained(folder).step == 40


def answers(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    """The JSON objects that a call prints; stderr must stay empty."""
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return [json.loads(line) for line in out.splitlines()]


def perceptron(folder: Path) -> Tensor:
    """Outputs [49, 7] of a run of `P7`, by the checkpoint's tensors."""
    model, pairs = state(folder)["model"], torch.tensor(PAIRS)
    x = model["input.embedding.weight"][pairs].sum(1)
    x = F.relu(F.linear(x, model["linears.0.weight"], model["linears.0.bias"]))
    return F.linear(x, model["linears.1.weight"], model["linears.1.bias"])


def transformer(folder: Path) -> Tensor:
    """Outputs [49, 8] of the run of `TRANSFORMER`: tokens `a b =`, the last of which is read."""
    model = state(folder)["model"]
    tokens = torch.tensor([(a, b, 7) for a, b in PAIRS])
    x = model["embedding.weight"][tokens] + model["positions.weight"]
    query, key, value = (F.linear(x, model[f"blocks.0.attention.{name}.weight"]) for name in ("query", "key", "value"))
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        scores = (query[:, -1:, part] @ key[..., part].mT / 2).softmax(-1)
        heads.append((scores @ value[..., part])[:, 0])
    x = x[:, -1] + F.linear(torch.cat(heads, 1), model["blocks.0.attention.attention.weight"])
    neurons = F.relu(F.linear(x, model["blocks.0.mlp.weight"], model["blocks.0.mlp.bias"]))
    x = x + F.linear(neurons, model["blocks.0.out.weight"], model["blocks.0.out.bias"])
    return F.linear(x, model["unembedding.weight"])


def stablemax(outputs: Tensor) -> Tensor:
    """Prieto et al. 2025, as it is written there."""
    s = torch.where(outputs >= 0, outputs + 1, 1 / (1 - outputs))
    return s / s.sum(-1, keepdim=True)


@pytest.mark.parametrize(
    ("name", "forward", "reading", "key"),
    [
        ("noise", perceptron, lambda outputs: outputs.exp() / outputs.exp().sum(-1, keepdim=True), "probability"),
        (
            "transformer",
            transformer,
            lambda outputs: outputs.exp() / outputs.exp().sum(-1, keepdim=True),
            "probability",
        ),
        ("stablemax", perceptron, stablemax, "probability"),
        ("mse", perceptron, lambda outputs: outputs, "score"),
    ],
)
def test_answers_are_those_of_a_plain_forward_pass(
    runs: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    forward: Callable[[Path], Tensor],
    reading: Callable[[Tensor], Tensor],
    key: str,
):
    found = answers(capsys, str(runs / name), *QUESTIONS, "--top", "2")
    assert [one["question"] for one in found] == QUESTIONS
    values, labels = reading(forward(runs / name)).topk(3)
    told = [[one, *one["next"]] for one in found]
    assert [[part["answer"] for part in parts] for parts in told] == labels.tolist()
    torch.testing.assert_close(torch.tensor([[part[key] for part in parts] for parts in told]).double(), values)


@pytest.mark.parametrize("name", ["noise", "transformer"])
def test_answers_add_up_to_the_accuracies_of_the_summary(runs: Path, capsys: pytest.CaptureFixture[str], name: str):
    found, last = answers(capsys, str(runs / name), *QUESTIONS), summary(runs / name)["last"]
    assert [one["right_answer"] for one in found] == [(a + b) % 7 for a, b in PAIRS]
    assert all(one["correct"] == (one["answer"] == one["right_answer"]) for one in found)
    train, held_out = ([one for one in found if one["subset"] == subset] for subset in ("train", "held-out"))
    assert (len(train), len(held_out)) == (24, 25)
    assert sum(one["correct"] for one in held_out) / 25 == last["Acc/test"]
    assert sum(one["answer"] == one["taught"] for one in train) / 24 == last["Acc/train"]
    assert sum(one["taught"] != one["right_answer"] for one in train) == (4 if name == "noise" else 0)
    assert all(one["taught"] is None for one in held_out)


@pytest.mark.parametrize("loss", [CrossEntropy(), StableMax()])
def test_a_loss_is_minus_the_logarithm_of_its_probability(loss: CrossEntropy | StableMax):
    outputs = 3 * torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(10).view(2, 5) % 4
    probabilities = loss.probabilities(outputs)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(2, 5, dtype=torch.float64))
    chosen = probabilities.gather(-1, labels[..., None])[..., 0]
    torch.testing.assert_close(-chosen.log(), loss(outputs.double(), labels))


def test_regression_gives_the_outputs_and_the_teachers_answer_where_it_is_known(
    runs: Path, capsys: pytest.CaptureFixture[str]
):
    run, model = load_trained(runs / "regression"), state(runs / "regression")["model"]
    examples = run.member.data.examples(2)
    assert float(examples.table.inputs[1, 0]) < 0  # a question that begins like a flag
    points = torch.cat([examples.table.inputs[[1, 25]], torch.full((1, 5), -0.5, dtype=torch.float64)])
    questions = [",".join(map(repr, point.tolist())) for point in points]
    found = answers(capsys, str(runs / "regression"), *questions)
    hidden = torch.tanh(F.linear(points, model["linears.0.weight"], model["linears.0.bias"]))
    outputs = F.linear(hidden, model["linears.1.weight"], model["linears.1.bias"])
    torch.testing.assert_close(torch.tensor([one["outputs"] for one in found], dtype=torch.float64), outputs)
    assert [one["subset"] for one in found] == ["train", "held-out", None]
    right = examples.table.targets[[1, 25]]
    assert [one["right_answer"] for one in found] == [*right.tolist(), None]
    errors = (outputs[:2] - right).square().mean(1)
    assert [one["squared_error"] for one in found[:2]] == pytest.approx(errors.tolist())
    assert [one["correct"] for one in found] == [*(errors < 1e-3).tolist(), None]


def test_a_question_outside_of_the_table_has_no_right_answer(runs: Path):
    run = load_trained(runs / "parity")
    points = run.member.data.examples(0).table.inputs.int().tolist()
    others = [[1 - 2 * (n >> bit & 1) for bit in range(5)] for n in range(32)]
    others = [point for point in others if point not in points]
    asked = [",".join(map(str, point)) for point in points + others]
    found = predict(run, asked)
    assert [one["subset"] is None for one in found] == [False] * 20 + [True] * 12
    assert all(one["right_answer"] is None and one["correct"] is None for one in found[20:])
    assert {one["right_answer"] for one in found[:20]} == {0, 1}


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def test_the_command_prints_a_table_of_what_it_says_as_json(runs: Path, capsys: pytest.CaptureFixture[str]):
    questions = ["3,4", "0,0", "6,6"]
    command = [sys.executable, "-W", "error", "-m", "grokplane.predict", "noise", *questions, "--top", "1"]
    done = subprocess.run(command, cwd=runs, capture_output=True, text=True, timeout=120, check=True)
    assert without_waiting(done.stderr) == ""
    title, empty, head, *lines = done.stdout.splitlines()
    assert title == "noise: finished at step 60; probabilities are those of loss=cross_entropy"
    assert empty == ""
    assert cells(head) == ["question", "answer", "probability", "right answer", "correct", "subset", "next"]
    for line, one in zip(lines, answers(capsys, str(runs / "noise"), *questions), strict=True):
        question, answer, probability, right, correct, subset, following = cells(line)
        assert (question, int(answer), int(right)) == (one["question"], one["answer"], one["right_answer"])
        assert float(probability) == pytest.approx(one["probability"], abs=5e-5)
        assert correct == ("yes" if one["correct"] else "no")
        assert subset.startswith(one["subset"])
        assert following.startswith(f"{one['next'][0]['answer']} (")
        assert len(one["next"]) == 3
    first = lines[0].index(cells(lines[0])[1], len("question"))
    assert head.index("answer") + len("answer") == first + 1  # flush right


def test_the_table_tells_what_a_noisy_question_was_taught_and_that_mse_has_scores(
    runs: Path, capsys: pytest.CaptureFixture[str]
):
    found = predict(load_trained(runs / "noise"), QUESTIONS)
    noisy = next(one for one in found if one["taught"] not in (None, one["right_answer"]))
    assert main([str(runs / "noise"), noisy["question"]]) == 0
    assert f"train, taught {noisy['taught']}" in capsys.readouterr().out
    assert main([str(runs / "mse"), "1,2"]) == 0
    title, _, head, _ = capsys.readouterr().out.splitlines()
    assert "scores are the outputs themselves: loss=mse has no probabilities" in title
    assert cells(head)[2] == "score"
    assert main([str(runs / "regression"), "1,2,3,4,5"]) == 0
    assert cells(capsys.readouterr().out.splitlines()[-1])[2:] == ["-", "-", "-", "not in the table"]


@pytest.mark.parametrize(
    ("name", "questions", "beginning", "allowed"),
    [
        ("noise", ["1,7"], "question=1,7: ", "0 to 6"),
        ("noise", ["3,4", "1,2,3"], "question=1,2,3: ", "2 numbers"),
        ("noise", ["a,b"], "question=a,b: ", "0 to 6"),
        ("noise", ["-1,2"], "question=-1,2: ", "0 to 6"),
        ("noise", [""], "question=: ", "2 numbers"),
        ("regression", ["1,2"], "question=1,2: ", "5 numbers"),
        ("regression", ["1,2,3,4,nan"], "question=1,2,3,4,nan: ", "finite"),
        ("parity", ["1,1,1,1,0"], "question=1,1,1,1,0: ", "1 or -1"),
        ("regression", ["1,2,3,4,5", "--top", "2"], "--top=2: ", "leave it out"),
        ("noise", ["1,2", "--top", "-1"], "argument --top: ", "at least 0"),
        ("noise", [], "the following arguments are required: QUESTION", "--help"),
        ("noise", ["1,2", "--jsn"], "unrecognized arguments: --jsn", "--help"),
        ("nothing", ["1,2"], "RUN=", "no such folder"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(
    runs: Path, capsys: pytest.CaptureFixture[str], name: str, questions: list[str], beginning: str, allowed: str
):
    assert main([str(runs / name), *questions]) == 2
    line = refusal(capsys)
    assert line.startswith(beginning)
    assert allowed in line


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    return err


def edit_summary(folder: Path, **changes: Any) -> None:
    (folder / "summary.json").write_text(json.dumps(summary(folder) | changes))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def edit_checkpoint(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    path = last_checkpoint(folder)
    torch.save(edit(torch.load(path, weights_only=True)), path)


def other_model(saved: dict[str, Any]) -> dict[str, Any]:
    saved["config"]["model"]["hidden"] = [9]
    return saved


def other_target(saved: dict[str, Any]) -> dict[str, Any]:
    saved["config"]["data"]["_target_"] = "grokplane.data.gone.Gone"
    return saved


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: edit_summary(folder, status="running"), ("the run is dead", "train.resume=true")),
        (lambda folder: edit_summary(folder, status="interrupted"), ("interrupted at step 60", "train.resume=true")),
        (lambda folder: edit_summary(folder, status="failed"), ("failed at step 60", "train.resume=true")),
        (lambda folder: edit_summary(folder, status="diverged", diverged=60), ("diverged at step 60",)),
        (lambda folder: (folder / "summary.json").unlink(), ("the run is dead", "train.resume=true")),
        (lambda folder: cut(folder / "summary.json"), ("summary.json is damaged", "train.resume=true")),
        (lambda folder: [path.unlink() for path in folder.glob("*.json*")], ("must be the folder of a run",)),
        (lambda folder: cut(last_checkpoint(folder)), ("step_00000060.pt: ", "damaged", "train.resume=true")),
        (lambda folder: last_checkpoint(folder).unlink(), ("step_00000060.pt: ", "missing", "train.resume=true")),
        (lambda folder: shutil.rmtree(folder / "checkpoints"), ("step_00000060.pt: ", "missing")),
        (lambda folder: edit_checkpoint(folder, lambda saved: [saved]), ("holds no state of a run",)),
        (lambda folder: edit_checkpoint(folder, lambda _: {"step": 60}), ("holds no state of a run",)),
        (lambda folder: edit_checkpoint(folder, other_model), ("does not fit the model of its config",)),
        (lambda folder: edit_checkpoint(folder, other_target), ("grokplane.data.gone",)),
    ],
)
def test_a_folder_without_a_finished_run_is_refused_in_one_line(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object], words: tuple[str]
):
    folder = tmp_path / "run"
    shutil.copytree(runs / "noise", folder)
    spoil(folder)
    assert main([str(folder), "1,2"]) == 2
    line = refusal(capsys)
    assert str(folder) in line or "gone" in words[0]
    assert all(word in line for word in words), line


def test_a_run_that_is_being_trained_is_refused_with_its_process(runs: Path, capsys: pytest.CaptureFixture[str]):
    lock = FolderLock(runs / "noise")
    try:
        assert main([str(runs / "noise"), "1,2"]) == 2
    finally:
        lock.release()
    line = refusal(capsys)
    assert "still running (pid " in line
    assert "train.resume=true" in line


def test_a_folder_of_runs_names_some_of_them(runs: Path, capsys: pytest.CaptureFixture[str]):
    assert main([str(runs), "1,2"]) == 2
    assert f"did you mean {runs / 'regression'} or {runs / 'stablemax'} or {runs / 'transformer'}?" in refusal(capsys)


def test_a_device_that_is_not_here_is_replaced_by_the_cpu_with_a_note(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def elsewhere(saved: dict[str, Any]) -> dict[str, Any]:
        saved["config"]["train"]["device"] = "cuda:99"
        return saved

    expected = answers(capsys, str(runs / "noise"), "1,2")
    shutil.copytree(runs / "noise", tmp_path / "run")
    edit_checkpoint(tmp_path / "run", elsewhere)
    assert main([str(tmp_path / "run"), "1,2", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(out)] == expected
    assert err == "note: the run's train.device=cuda:99 is not here; this is computed on the cpu\n"
