"""Networks on sequences of digits and on lists: a hand-made adder, greedy decoding, the command line."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from builders import finish, member, weights
from command import PRECISE, QUIET, Inside, assert_same_state, ended_well, refusal, rows, state
from torch import Tensor

from grokplane import config
from grokplane.answers import NOT_SCORED, LabelSequence
from grokplane.app.decoding import decode
from grokplane.app.runs import load_trained
from grokplane.data import DigitSequence, RandomSplit
from grokplane.models import Module
from grokplane.predict import main, predict
from grokplane.record import load
from grokplane.train import Member, Stack
from grokplane.train.observe import measure, observe

SPLIT = RandomSplit()
ADDITION = DigitSequence(SPLIT, digits=2, ood_digits=3, operands_reversed=True, answer_reversed=True)


def adder(data: DigitSequence = ADDITION, **keys: Any) -> Member:
    return member(data=data, model=Module({"_target_": "causal_nets.Adder"} | keys))


def asked(one: Member, questions: list[tuple[int, int]]) -> list[dict[str, Any]]:
    stack, examples = Stack([one]), one.examples()
    run = cast("Any", SimpleNamespace(member=one, examples=examples, stack=lambda: stack, folder=Path()))
    return predict(run, [f"{a},{b}" for a, b in questions])


# A hand-made adder


@pytest.mark.parametrize("base", [2, 10])
def test_an_adder_is_right_in_the_domain_and_out_of_it(base: int) -> None:
    data = replace(ADDITION, base=base, ood_questions=16)
    stack = Stack([adder(data), adder(replace(data, label_noise=2))])
    right, noisy = measure(stack, observe(stack))
    for split in ("train", "test", "ood"):
        assert right[f"Acc/{split}"] == right[f"Acc_token/{split}"] == 1.0
        assert right[f"Loss/{split}"] < 1e-6
    assert all(value == 1.0 for name, value in right.items() if name.startswith("Acc"))
    assert sum(name.startswith("Acc/ood/length_") for name in right) > 0
    assert noisy["Acc/train/corrupted"] == 0.0
    assert noisy["Acc/train/clean"] == noisy["Acc/test"] == 1.0


def test_an_adder_is_right_by_greedy_decoding() -> None:
    questions = [(0, 0), (9, 1), (99, 1), (99, 99), (38, 7), (999, 1), (999, 999), (5, 995), (451, 549)]
    found = asked(adder(), questions)
    for (a, b), one in zip(questions, found, strict=True):
        assert one["text"]["answer"] == str(a + b)
        assert one["answer"] == [int(digit) for digit in f"{a + b:04}"[::-1]]
        assert one["probability"] == pytest.approx(1.0, abs=1e-6)
    assert {one["subset"] for one in found[:5]} <= {"train", "held-out"}
    assert [one["correct"] for one in found[:5]] == [True] * 5
    assert (found[7]["right_answer"], found[7]["correct"], found[7]["subset"]) == (None, None, None)  # of two lengths


def test_wrong_answers_of_label_noise_are_told_as_taught() -> None:
    noisy = adder(replace(ADDITION, label_noise=3, train_fraction=0.01))
    examples = noisy.examples()
    assert examples.table.operands is not None
    pairs = [(a, b) for a, b in examples.table.operands[examples.train].tolist()]
    found = asked(noisy, pairs)
    assert [one["text"]["right_answer"] for one in found] == [str(a + b) for a, b in pairs]
    assert [one["taught"] for one in found] == examples.train_targets.tolist()
    assert {one["subset"] for one in found} == {"train"}
    assert sum(one["taught"] != one["right_answer"] for one in found) == 3


def test_the_wrong_first_digit_is_fed_back() -> None:
    """Under teacher forcing the other digits are right. Decoded greedily, they depend on the wrong digit."""
    wrong = adder(wrong=1)
    stack = Stack([wrong])
    record = measure(stack, observe(stack))[0]
    assert record["Acc/train"] == record["Acc/test"] == record["Acc/ood"] == 0.0
    assert record["Acc_token/test"] == 0.75
    assert record["Loss/test"] > 0.25 * 25
    # 24 + 5 = 29, said as 0 in place of 9: 4 + 5 is above 0, so that a carry is read.
    (one,) = asked(wrong, [(24, 5)])
    assert one["answer"] == [0, 3, 0, 0]
    assert one["text"]["answer"] == "30"
    (one,) = asked(wrong, [(24, 3)])
    assert one["answer"] == [8, 2, 0, 0]
    assert one["correct"] is False


# Decoding


def test_decoding_is_that_of_one_question_at_a_time() -> None:
    """Questions of several lengths together, against plain lines that call the network with every longer prefix."""
    answers, length = LabelSequence(5, 6, fed_back=True, end=4), 9
    weight = torch.randn(length, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def of_prefix(tokens: list[int]) -> Tensor:
        return torch.stack([weight[place, token] for place, token in enumerate(tokens)]).sum(0)

    def forward(inputs: Tensor) -> Tensor:
        rows = [[of_prefix(row[: length - 5 + place]) for place in range(6)] for row in inputs.tolist()]
        return torch.stack([torch.stack(row) for row in rows])

    questions = [[token % 5 for token in range(number, number + size)] for number in range(30) for size in (4, 5, 7)]
    found = decode(forward, [torch.tensor(question) for question in questions], answers, length)
    lengths = set()
    for question, outputs in zip(questions, found, strict=True):
        tokens, wanted = list(question), []
        while len(tokens) <= length:
            wanted.append(of_prefix(tokens))
            tokens.append(int(wanted[-1].argmax()))
            if tokens[-1] == 4:
                break
        torch.testing.assert_close(outputs, torch.stack(wanted), rtol=0, atol=0)
        lengths.add((len(question), len(wanted)))
    assert len(lengths) >= 5


def test_answers_that_end_early_or_not_at_all_are_judged_by_their_tokens() -> None:
    answers = LabelSequence(5, 4, fed_back=True, end=4)
    right = torch.tensor([NOT_SCORED, 1, 4, NOT_SCORED])
    for said, correct in (([1, 4], True), ([1], False), ([4], False), ([1, 3, 4], False), ([0, 4], False)):
        found = answers.judged({"answer": said}, right, right)
        assert found == {"right_answer": [1, 4], "correct": correct, "taught": [1, 4]}
    open_ended = LabelSequence(5, 4, fed_back=True)
    assert open_ended.judged({"answer": [1, 4, 0]}, right, None)["correct"] is True


# The command line

MODELS = {
    "module": ("model=module", "+model.module._target_=causal_nets.Mixer", "optimizer.lr=0.01"),
    "transformer": (
        *("model=transformer", "model.layers=1", "model.heads=2", "model.width=16", "model.mlp_width=32"),
        "optimizer.lr=0.003",
    ),
    "lstm": ("model=lstm", "model.width=16", "model.layers=1", "optimizer.lr=0.01"),
}
TASKS = {
    "fixed": ("data=sequence", "data.base=4", "data.digits=1", "data.ood_digits=2", "data.ood_questions=20"),
    "variable": ("data=sequence", "data.base=4", "data.digits=1", "data.format=variable", "data.operation=mul"),
    "modular": ("data=sequence", "data.digits=1", "data.questions=30", "data.operation=sub", "data.modulus=13"),
    "sort": ("data=sort", "data.length=3", "data.values=3"),
    "reverse": ("data=reverse", "data.length=3", "data.values=3"),
    "copy": ("data=copy", "data.length=3", "data.values=3"),
}
METRICS = "metrics=[loss,accuracy,autoregressive,digit_accuracy]"
LEARNT = (*PRECISE, "train.steps=500", "optimizer.weight_decay=0", "data.train_fraction=0.5")


@pytest.mark.parametrize(
    ("task", "model"),
    [*((task, "module") for task in TASKS), ("fixed", "transformer"), ("variable", "lstm"), ("sort", "transformer")],
)
def test_every_task_is_learnt_by_heart_and_asked(
    task: str, model: str, tmp_path: Path, inside: Inside, capsys: pytest.CaptureFixture[str]
) -> None:
    ended_well(inside, *LEARNT, *TASKS[task], *MODELS[model], "hydra.run.dir=run", cwd=tmp_path)
    last = rows(tmp_path / "run")[-1]
    assert last["Acc/train"] == 1.0
    assert ("Acc/ood" in last) == (task == "fixed")
    question = "2,1,2" if "data.length=3" in TASKS[task] else "3,2"
    plugs = ("--module", "causal_nets.Mixer") if model == "module" else ()
    assert main([str(tmp_path / "run"), question, *plugs, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert main([str(tmp_path / "run"), question, *plugs]) == 0
    line = re.split(" {2,}", capsys.readouterr().out.splitlines()[-1])
    assert line[:4] == [
        question,
        said["text"]["answer"],
        f"{said['probability']:.4f}",
        said["text"]["right_answer"] or "-",
    ]
    right = {"sort": "1,2,2", "reverse": "2,1,2", "copy": "2,1,2", "fixed": "5", "variable": "6", "modular": "1"}
    if said["subset"] == "train":
        assert said["correct"] is True
        assert said["text"]["taught"] == said["text"]["answer"] == right[task]
    assert said["text"]["right_answer"] in (None, right[task])
    assert said["correct"] == (None if said["right_answer"] is None else said["text"]["answer"] == right[task])


@pytest.mark.parametrize("task", ["fixed", "variable", "sort"])
def test_predict_is_right_as_often_as_the_metrics_say(task: str, tmp_path: Path, inside: Inside) -> None:
    """Three computations of one number: teacher-forced, decoded by the metric, decoded by `predict`."""
    typed = (*PRECISE, "train.steps=60", "metrics=[loss,accuracy,autoregressive]", *TASKS[task], *MODELS["transformer"])
    ended_well(inside, *typed, "data.train_fraction=0.7", "hydra.run.dir=run", cwd=tmp_path)
    last, run = rows(tmp_path / "run")[-1], load_trained(tmp_path / "run")
    assert run.table.operands is not None
    shares = []
    for split, subset in (("train", run.train), ("test", run.test)):
        found = predict(run, [",".join(map(str, row)) for row in run.table.operands[subset].tolist()])
        shares.append(sum(one["correct"] for one in found) / len(found))
        assert last[f"Acc/{split}"] == last[f"Acc_autoregressive/{split}"] == pytest.approx(shares[-1])
    assert 0 < shares[0] < 1


@pytest.mark.parametrize(
    ("model", "task", "stacked"),
    [
        (
            "transformer",
            "fixed",
            ("data.operands_reversed=false,true", "data.answer_reversed=true,false", "data.ood_questions=20,null"),
        ),
        (
            "lstm",
            "variable",
            ("seed=0,1", "data.train_fraction=0.3,0.6", "data.label_noise=0,3", "data.questions=null,12"),
        ),
        ("module", "sort", ("seed=0,1", "data.train_fraction=0.3,0.6", "data.label_noise=0,3", "data.lists=null,20")),
    ],
)
def test_a_stack_equals_its_members_alone(task: str, stacked: tuple[str, ...], model: str) -> None:
    pairs = [key.partition("=") for key in stacked]
    members = [
        config.member(
            config.compose(
                [*PRECISE, METRICS, "train.steps=20", *TASKS[task], *MODELS[model]]
                + [f"{key}={values.split(',')[number]}" for key, _, values in pairs]
            )
        )
        for number in range(2)
    ]
    together = Stack(members)
    last = finish(together)[-1]
    for number, one in enumerate(members):
        alone = Stack([one])
        record = finish(alone)[-1].records[0]
        torch.testing.assert_close(weights(together, number), weights(alone), rtol=0, atol=1e-9)
        values = {name: value for name, value in last.records[number].items() if not name.startswith("time/")}
        assert values == pytest.approx({name: record[name] for name in values}, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_a_resumed_run_equals_one_that_was_never_interrupted(model: str, tmp_path: Path, inside: Inside) -> None:
    typed = (*QUIET, "mi=off", *TASKS["variable"], *MODELS[model], "data.label_noise=2", "train.batch_size=3")
    every = ("train.checkpoint_every=10", "log.every=5")
    ended_well(inside, *typed, *every, "train.steps=20", "hydra.run.dir=whole", cwd=tmp_path)
    ended_well(inside, *typed, *every, "train.steps=10", "hydra.run.dir=parts", cwd=tmp_path)
    resumed = ("train.resume=true", "train.steps=20", "hydra.run.dir=parts")
    ended_well(inside, *typed, *every, *resumed, cwd=tmp_path)
    assert_same_state(state(tmp_path / "parts"), state(tmp_path / "whole"))
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


@pytest.mark.parametrize(("task", "model"), [("fixed", "transformer"), ("variable", "lstm"), ("sort", "module")])
def test_information_obeys_its_laws(
    task: str, model: str, tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = (*QUIET, "train.threads=1", "train.steps=40", "log.dense_steps=1", "log.every=20", "mi.workers=0")
    more = "data.values=4" if task == "sort" else "data.base=7"  # a standard error from eight points is a rough one
    ended_well(inside, *few, *TASKS[task], more, *MODELS[model], "hydra.run.dir=run", cwd=tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    checked, broken = importlib.import_module("laws").broken(load(tmp_path / "run"))
    assert broken == []
    assert checked > 50


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["data.base=1"], "data.base=1: must be at least 2 and at most 10000"),
        (["data.ood_digits=2"], "data.ood_digits=2: must be above data.digits (2), the digits of the questions that"),
        (["data.modulus=1"], "data.modulus=1: must be at least 2 and at most 1e+06"),
        (["data.answer_digits=2"], "data.answer_digits=2: the answer to 99,99 is 198, which does not fit; must be at"),
        (["data.questions=10001"], "data.questions=10001: must be at most 10000, the number of questions"),
        (["data.operation=plus"], "data.operation=plus: did you mean x3_plus_y"),
        (["data.operation=x2_plus_y"], "data.operation=x2_plus_y: needs a data.modulus; without one: add, sub"),
    ],
)
def test_bad_input_is_refused_in_one_line(typed: list[str], line: str, tmp_path: Path, inside: Inside) -> None:
    done = inside(*QUIET, "data=sequence", *MODELS["module"], *typed, "hydra.run.dir=run", cwd=tmp_path)
    assert refusal(done).removeprefix("train.py: ").startswith(line)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("model", ["mlp", "transformer model.causal=false"])
def test_a_model_that_reads_out_one_position_or_looks_ahead_is_refused(
    model: str, tmp_path: Path, inside: Inside
) -> None:
    done = inside(*QUIET, "data=sequence", *f"model={model}".split(), "hydra.run.dir=run", cwd=tmp_path)
    assert refusal(done).startswith("model.causal=false: " if "causal" in model else f"model={model}: ")
    assert not (tmp_path / "run").exists()
