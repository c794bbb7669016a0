"""Further refusals of the command line, through the entry point's own function: many cases in one process."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest
from command import digest

from grokplane.app import main
from grokplane.options import ConfigError, shown
from grokplane.record import FolderBusy, FolderTaken

ANALYTIC = (
    "data/split=random",
    "model.embedding=onehot",
    "model.activation=square",
    "model.bias=false",
    "model.hidden=[192]",
    "model.init=analytic",
)
# For init=analytic: what does not fit it, and what the refusal says.
NOT_ANALYTIC = [
    (("model.activation=ReLU",), "needs model.activation=square, not ReLU"),
    (("model.bias=[false,true]",), "needs model.bias=false"),
    (("model.embedding=onehot_sum",), "needs model.embedding=onehot, not onehot_sum"),
    (("model.hidden=[8,8]", "model.bias=false"), "needs one hidden layer such as model.hidden=[192], not 2"),
    (("model.hidden=[]",), "needs one hidden layer such as model.hidden=[192], not 0"),
    (("data.layout=equation",), "questions of two residues"),
    (("data=sums",), "questions of two residues"),
    (("data.p=54",), "needs an odd modulus, not 54"),
    (("data.operation=mul",), "adds modulo 53, and this task answers 0,1 with 0; use data.operation=add"),
    (("data.operation=sub",), "adds modulo 53, and this task answers 0,1 with 52"),
    (("-m", "hydra/launcher=stacked", "data.operation=add,x2_plus_y"), "adds modulo 53"),
]
# The arguments, the beginning of the line, and words in it that say what is allowed.
CASES = [
    (("+data.q=5",), "data.q=5: unknown key", "data.p"),
    (("mode=mlp",), "mode=mlp: unknown key; did you mean the config group model?", ""),
    (("optimiser=adamw",), "optimiser=adamw: unknown key; did you mean the config group optimizer?", ""),
    (("data/splt=random",), "data/splt=random: unknown key; did you mean the config group data/split?", ""),
    (("metrcs=[loss]",), "metrcs=[loss]: unknown key; did you mean the config group metrics?", ""),
    (("opt=sgd",), "opt=sgd: unknown key; did you mean optimizer=sgd?", ""),
    (("-m", "mode=mlp,lstm"), "mode=mlp: unknown key; did you mean the config group model?", ""),
    (("-m", "optimiser=adamw", "seed=0,1"), "optimiser=adamw: unknown key; did you mean the config group optim", ""),
    (("+modle=mlp",), "modle=mlp: unknown key; did you mean model", ""),
    (("train.steps=null",), "train.steps=null: ", "not be null"),
    (("model.hidden=32",), "model.hidden=32: ", "[32,32]"),
    (("train.batch_size=half",), "train.batch_size=half: ", "full or a whole number"),
    (("optimizer=adamx",), "optimizer=adamx: ", "did you mean adam"),
    (("metrics=[loss,foo]",), "metrics=foo: ", "weight_norms"),
    (("data.split=random",), "data.split=random: ", "data/split=NAME"),
    (("optimizer=null",), "optimizer=null: ", "adamw"),
    (("metrics.loss=null",), "metrics.loss=null: ", "metrics=[NAME,...]"),
    (("seed=0,1",), "seed=0,1: ", "-m sweeps"),
    (("data.p=[",), "data.p=[: ", "key=value"),
    (("optimizer=sgd", "optimizer.nesterov=true"), "optimizer.nesterov=true: ", "optimizer.momentum above 0"),
    (("train.resume=true", "train.overwrite=true"), "train.overwrite=true: ", "excludes train.resume"),
    (("hydra.run.dir=/dev/null/run",), "hydra.run.dir=/dev/null/run: ", "can be written"),
    (("--config-dir=elsewhere",), "--config-dir=elsewhere: ", "no such folder"),
    (("--elsewhere",), "--elsewhere: no such flag", "--multirun"),
    (("-m", "data.p=7,abc"), "data.p=abc: ", "whole number"),
    (("-m", "seed=0,1", "train.steps=1", "hydra.sweep.subdir=same"), "hydra.sweep.subdir=same: ", "its own folder"),
    (("-m", "optimizer.lr=interval(0,1)"), "optimizer.lr=interval(0,1): ", "choice()"),
    (("train.steps=-1",), "train.steps=-1: ", "at least 0"),
    (("train.resume=maybe",), "train.resume=maybe: ", "true or false"),
    (("train.threads=1000000",), "train.threads=1000000: ", "at most 1024"),
    (("train.dtype=float16",), "train.dtype=float16: ", "float32, float64"),
    (("data.train_fraction=null",), "data.train_fraction=null: ", "needs a number"),
    (("data.p=2", "data.train_fraction=0.2"), "data.train_fraction=0.2: ", "training subset of 4 questions empty"),
    (("data/split=label_holdout", "data.split.below=53"), "data.split.below=53: ", "leave labels"),
    (("data/split=nope",), "data/split=nope: ", "label_holdout, ordered, random"),
    (("experiment=peluche", "data.label_noise=0.0001"), "data.label_noise=0.0001: ", "842 training answers"),
    (("optimizer.betas=[0.9]",), "optimizer.betas=[0.9]: ", "list of 2"),
    (("model.hidden=[0]",), "model.hidden=[0]: ", "at least 1"),
    (("model.embedding=none",), "model.embedding=none: ", "sum, concat, onehot or onehot_sum"),
    (("model.embedding=onehot_sum", "model.embedding_dim=8"), "model.embedding_dim=8: ", "leave it null"),
    (("model.bias=[true]",), "model.bias=[true]: ", "a list of 3: one for each hidden layer and one for the read-out"),
    (("model.bias=[true,1,true]",), "model.bias=[true,1,true]: ", "true, false or a list"),
    (("model.bias=no bias",), "model.bias=no bias: ", "true, false or a list"),
    (("model.bias=null",), "model.bias=null: ", "true, false or a list"),
    (("model.dropout=1",), "model.dropout=1.0: ", "below 1"),
    (("model.init_sigma=0.1",), "model.init_sigma=0.1: ", "needs model.init=gaussian, not torch"),
    (("model.init=gaussian", "model.init_sigma=0"), "model.init_sigma=0.0: ", "above 0"),
    (("model.init=gaussian", "model.hidden=[]"), "model.init_sigma=null: ", "must be a number"),
    (("model=transformer", "model.init=gaussian"), "model.init=gaussian: ", "scaled_normal"),
    (("model.output_scale=0",), "model.output_scale=0.0: ", "above 0"),
    (("model.output_scale=1e-200", "model.scale_lr=true"), "model.output_scale=1e-200: ", "no finite square"),
    (("model.centred=true", "model.dropout=0.1"), "model.dropout=0.1: ", "model.centred=false"),
    (("model.centred=true", "model.noise_sigma=0.1"), "model.noise_sigma=0.1: ", "model.centred=false"),
    *((("data=modular", *ANALYTIC, *typed), "model.init=analytic: ", allowed) for typed, allowed in NOT_ANALYTIC),
    (("data=3",), "data=3: ", "modular"),
    (("rules=[sam,sam]",), "rules=[sam,sam]: ", "each only once"),
    (("rules=[sma]",), "rules=sma: ", "did you mean sam"),
    (("rules=[grokfast_ema,grokfast_ma]",), "rules=[grokfast_ema,grokfast_ma]: ", "only one Grokfast filter"),
    (("rules=[sam]", "rules.sam.rho=-1"), "rules.sam.rho=-1", "at least 0"),
    (("model=transformer", "model.heads=3"), "model.heads=3: ", "divide model.width, which is 128"),
    (("model=transformer", "data=parity"), "model=transformer: ", "not tokens"),
    (("optimizer=muon", "model.hidden=[8]", "model.embedding=onehot"), "optimizer=muon: ", "needs a hidden matrix"),
    (("data=sums", "data.p=1999", "data.operands=5"), "data.equations=null: ", "PiB"),
    (("data=teacher_student", "model.embedding=none", "loss=mse"), "metrics=", "class labels"),
    (("=3",), "=3: ", "equals sign"),
    (("~data.p",), "~data.p: ", "key=value"),
    (("~optimizer",), "~optimizer: ", "given a value"),
    (("optimizer.lr=???",), "optimizer.lr=???: ", "given a value"),
    (("seed=${foo}",), "seed=${foo}: ", "a key that exists"),
    (("hydra.run.dri=x",), "hydra.run.dri=x: ", "unknown key"),
    (("mi=off", "mi.draws=20"), "mi.draws=20: ", "no key of this choice of mi"),
    (("record.figure_format=[png,jpg]",), "record.figure_format=[png,jpg]: ", "png, pdf, svg"),
    (("record.figure_format=[]",), "record.figure_format=[]: ", "at least one name; allowed: png, pdf, svg"),
    (("record.figure_format=pdf",), "record.figure_format=pdf: ", "must be a list"),
    (("-m", "hydra/launcher=nope"), "hydra/launcher=nope: ", "basic"),
    (("-m", "optimizer=glob(z*)"), "optimizer=glob(z*): ", "matches nothing"),
    (
        ("-m", "data/split=random", "data.p=7,6", "data.operation=add,div"),
        "data.operation=div: ",
        "prime data.p, not 6",
    ),
    (("data.operation=sub",), "data/split=unordered: ", "use data/split=random"),
    (("data=permutations", "data/split=unordered"), "data/split=unordered: ", "use data/split=random"),
    (("data=permutations", "grok.questions=unseen"), "grok.questions=unseen: ", "use test"),
    (("grok.questions=on",), "grok.questions=", "test, unseen"),
]


@pytest.mark.parametrize(("typed", "beginning", "allowed"), CASES, ids=[" ".join(typed) for typed, *_ in CASES])
def test_a_refused_call_says_why_in_one_line_and_writes_nothing(
    typed: tuple[str, ...],
    beginning: str,
    allowed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", *typed])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # main sets it too, so monkeypatch must restore it
    with pytest.raises(SystemExit) as ended:
        main("train")
    out, err = capfd.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith(beginning)
    assert allowed in err.removeprefix(beginning)
    assert digest(tmp_path) == {}


@pytest.mark.parametrize(
    "error",
    [ConfigError("seed", -1, "no"), FolderBusy(Path("a"), "pid 1"), FolderTaken(Path("b"))],
    ids=lambda error: type(error).__name__,
)
def test_refusals_come_back_whole_from_a_process(error: ConfigError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), back.key, back.value) == (type(error), str(error), error.key, error.value)


def test_values_are_told_as_they_are_typed() -> None:
    told = [shown(value) for value in (None, True, 0.5, [0, 32], [], "x")]
    assert told == ["null", "true", "0.5", "[0,32]", "[]", "x"]
