"""Bad input on the command line: exit code 2, one line that names key, value and what is allowed, nothing on disk."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest
from command import Call, Inside, Submit, call, digest, refusal

P7 = ("data.p=7", "data.train_fraction=0.5")
DIGITS = ("data=digits", "model.embedding=none", "loss=mse")
TEACHER = ("experiment=teacher_student",)
HOLDOUT = ("data/split=label_holdout", "data.train_fraction=null")
# What is typed, how the line begins, and the word in it that says what is allowed.
CASES = [
    (("width=7",), "width=7: unknown key", "--help"),
    (("train.step=5",), "train.step=5: unknown key", "train.steps"),
    (("train.steps=abc",), "train.steps=abc: ", "whole number"),
    (("train.steps=1", "train.steps=abc"), "train.steps=abc: ", "whole number"),
    (("train.steps=1.5",), "train.steps=1.5: ", "whole number"),
    (("data.p=1",), "data.p=1: ", "at least 2"),
    (("data.train_fraction=1",), "data.train_fraction=1.0: ", "above 0 and below 1"),
    (("data.p=3", "data.train_fraction=0.1"), "data.train_fraction=0.1: ", "training subset of 9 questions empty"),
    ((*P7, "data/split=random", "train.batch_size=25"), "train.batch_size=25: ", "full or 1 to 24"),
    ((*HOLDOUT, "data.split.below=null", "data.split.labels=[99]"), "data.split.labels=[99]: ", "0 to 52"),
    (("optimizer.lr=-0.1",), "optimizer.lr=-0.1: ", "at least 0"),
    (("optimizer.lr=nan",), "optimizer.lr=nan: ", "finite number"),
    (("model.init_scale=inf",), "model.init_scale=inf: ", "finite number"),
    (("seed=-1",), "seed=-1: ", "at least 0"),
    (("data.p=6", "data.operation=div"), "data.operation=div: ", "prime data.p, not 6"),
    (("data.p=9", "data.operation=div_odd_sub_even"), "data.operation=div_odd_sub_even: ", "prime data.p, not 9"),
    (("data.operation=x2_plus_y3",), "data.operation=x2_plus_y3: ", "did you mean x2_plus_y"),
    (("train.device=cuda:99",), "train.device=cuda:99: ", "allowed: cpu"),
    (
        ("schedule=cosine", "schedule.warmup_steps=9", "train.steps=9"),
        "schedule.warmup_steps=9: ",
        "below train.steps=9",
    ),
    (("mi=compressed",), "mi=compressed: ", "tokens are measured exactly; use default"),
    (("mi=infoplane", "mi.layer_dim=2"), "mi=compressed: ", "like infoplane and mutinfo for images"),
    (("mi=compressed", *DIGITS, "model.noise_sigma=1", "mi.noise=1"), "mi.noise=1: ", "noise of its own"),
    (
        ("-m", "mi=compressed", *DIGITS, "mi.code=pca", "mi.code_steps=2", "seed=0,1"),
        "mi.code_steps=2: ",
        "not trained",
    ),
    (("mi=compressed", *TEACHER, "mi.code=pca"), "mi.code=pca: ", "inputs are vectors"),
    (
        ("mi=compressed", *TEACHER, "mi/label_estimator=class_kl"),
        "mi/label_estimator=class_kl: ",
        "answers are numbers",
    ),
    (("mi.ladder=[0.2,0.20000001]",), "mi.ladder=[0.2,0.20000001]: ", "differ from each other"),
    (("mi.draws=21",), "mi.draws=21: ", "must be even"),
    (("mi.ladder=[0.2,0]",), "mi.ladder=[0.2,0.0]: ", "at least 0.001"),
    (("rules=[null]",), "rules=[null]: ", "a list of names"),
    (("metrics=[1]",), "metrics=[1]: ", "a list of names"),
    (("model.hidden=[[32]]",), "model.hidden=[[32]]: ", "without lists in it"),
    (("model.hidden=[100000,9999999]",), "model=MLP: ", "smaller sizes"),
    ((f"model.hidden=[8,{10**30}]",), "model=MLP: ", "smaller sizes"),
    (("model=transformer", f"model.layers={10**30}"), f"model.layers={10**30}: ", "at most 1000"),
    (("model=lstm", f"model.layers={10**30}"), f"model.layers={10**30}: ", "at most 1000"),
    ((f"train.steps={10**30}",), f"train.steps={10**30}: ", "at most 1e+12"),
    (("mi=compressed", "mi.noise=1e300"), "mi.noise=1e+300: ", "at most"),
    (("mi.workers=1000",), "mi.workers=1000: ", "at most 64"),
    (("hydra.run.dir=",), "hydra.run.dir=: ", "must name a folder"),
    (("hydra.run.dir=/proc/x",), "hydra.run.dir=/proc/x: ", "cannot be made"),
    (("name=" + 300 * "x",), "hydra.run.dir=outputs/xxx", "cannot be made"),
    (("experiment=peluch",), "experiment=peluch: ", "did you mean peluche?"),
    (("-m", "seed=range(0,1000)", "data.p=range(2,200)"), "data.p=range(2,200): makes more than", "fewer"),
    (("-m", "seed=range(0,1e9)"), "seed=range(0,1e9): makes more than", "fewer"),
    (("-m", "seed=0,-1"), "seed=-1: ", "at least 0"),
]


REAL = (CASES[0], CASES[-1])


@pytest.fixture(scope="module")
def calls(submit: Submit, tmp_path_factory: pytest.TempPathFactory) -> list[Future[Call]]:
    """Some of them in processes of their own."""
    return [submit(call, *typed, cwd=tmp_path_factory.mktemp("refused")) for typed, *_ in REAL]


@pytest.mark.parametrize(("typed", "beginning", "allowed"), CASES, ids=[" ".join(typed) for typed, *_ in CASES])
def test_a_refused_call_says_why_in_one_line_and_writes_nothing(
    typed: tuple[str, ...], beginning: str, allowed: str, inside: Inside, tmp_path: Path
) -> None:
    line = refusal(inside(*typed, cwd=tmp_path))
    assert line.startswith(beginning)
    assert allowed in line.removeprefix(beginning)
    assert digest(tmp_path) == {}


@pytest.mark.parametrize("number", range(len(REAL)))
def test_a_process_of_its_own_says_the_same(
    number: int, calls: list[Future[Call]], inside: Inside, tmp_path: Path
) -> None:
    assert refusal(calls[number].result()) == refusal(inside(*REAL[number][0], cwd=tmp_path))
