"""`--help` shows every key with its help and its allowed values, and the chosen choice of each group, without torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from command import TRAIN, Inside

from grokplane import config
from grokplane.app import untyped
from grokplane.app.untyped import known_keys, text_keys
from grokplane.sweep.executors import EXECUTORS, executor_class


@pytest.mark.parametrize("columns", [60, 100, 200])
@pytest.mark.parametrize("program", ["train.py", "train_mnist.py"])
def test_descriptions_are_whole_sentences(
    program: str, columns: int, tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    done = inside("--help", cwd=tmp_path, program=program)
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= columns
    text = " ".join(done.stdout.split())
    for group in ("experiment", "debug"):
        for name in config.group_names(group):
            told = text.partition(f"{group}={name} ")[2]
            lines = (config.CONFIGS / group / f"{name}.yaml").read_text().splitlines()
            comment = " ".join(
                line.removeprefix("# ") for line in lines if line.startswith("# ") and "@package" not in line
            )
            assert comment.endswith(".")
            assert told.startswith(comment), name
    for spec in (spec for node in config.nodes(config.compose()) for spec in _specs(node[1])):
        assert spec.metadata["help"] in text or program != "train.py"


def _specs(node: config.DictConfig) -> list[Any]:
    schema: Any = config.OmegaConf.get_type(node)
    found = fields(schema) if hasattr(schema, "__dataclass_fields__") else ()
    return [spec for spec in found if spec.metadata.get("help") and not isinstance(node[spec.name], config.DictConfig)]


def test_help_shows_the_choices_of_the_call(tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    typed = ("model=mlp_mnist", "optimizer.lr=0.5", "rules=[sam]", "experiment=nanda", "mi=compressed")
    lines = [" ".join(line.split()) for line in inside("--help", *typed, cwd=tmp_path).stdout.splitlines()]
    for line in (
        "optimizer=adamw Adam with decoupled weight decay. Others: adam, by_group, lion, muon, rmsprop, sgd.",
        "optimizer.lr=0.5 learning rate (a number at least 0)",
        "optimizer.betas=[0.9,0.98] decay of the two moments (a list of 2 numbers, each below 1 and at least 0)",
        "model.hidden=[200,200] width of each hidden layer (a list of whole numbers, each at least 1)",
        "rules.sam.rho=0.05 length of the ascent step, over all parameters of a member (a number at least 0)",
        "mi.label_estimator.k=3 number of neighbours within the class (a whole number at least 1)",
        "data.p=113 modulus (a whole number at least 2 and at most 2000)",
        "experiment (chosen: nanda)",
        "outputs/nanda/",
    ):
        assert any(found.startswith(line) or found.endswith(f"{line}.") for found in lines), line
    assert any(line.startswith("rules=[NAME,...] chosen: sam; others: ablation, constant_norm, ") for line in lines)


@pytest.mark.parametrize("typed", [("optimzer.lr=1",), ("optimizer=adamx",), ("data.p=[",), ("seed=0,1",)])
def test_help_refuses_what_the_run_refuses(typed: tuple[str, ...], tmp_path: Path, inside: Inside) -> None:
    run, asked = inside(*typed, cwd=tmp_path), inside("--help", *typed, cwd=tmp_path)
    assert asked.returncode == 2
    assert asked.stderr == run.stderr


def test_help_of_a_call_with_files_of_the_users_own(tmp_path: Path, inside: Inside) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "wide.yaml").write_text("defaults:\n  - schema/mlp@_here_\nhidden: [512]\n")
    done = inside("--help", "--config-dir=mine", "model=wide", cwd=tmp_path)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "model=wide Others: conv, lstm, mlp, mlp_mnist, module, transformer." in lines
    assert any(line.startswith("model.hidden=[512] width of each hidden layer (a list of ") for line in lines)


@pytest.mark.parametrize("content", ["- a list", "a: [", "@: b"])
def test_help_with_a_broken_file_of_defaults_is_refused_in_a_line(
    content: str, tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = shutil.copytree(config.CONFIGS, tmp_path / "configs")
    (copied / "local").mkdir()
    (copied / "local" / "default.yaml").write_text(f"# @package _global_\n{content}\n")
    for module in ("config", "config_files", "app.untyped", "app.usage"):
        monkeypatch.setattr(f"grokplane.{module}.CONFIGS", copied)
    for cached in (untyped._keys_of, untyped._schemas_in_files):
        monkeypatch.setattr(untyped, cached.__name__, cached.__wrapped__)
    done = inside("--help", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_help_leaves_the_schemas_as_they_were(tmp_path: Path, inside: Inside) -> None:
    before = config.compose(["experiment=peluche"])
    assert inside("--help", cwd=tmp_path).returncode == 0
    assert config.compose(["experiment=peluche"]) == before
    assert inside("optimizer.lr=abc", cwd=tmp_path).stderr == "optimizer.lr=abc: must be a number\n"


@pytest.mark.parametrize("program", ["train.py", "train_mnist.py", "sweep.py"])
def test_help_imports_no_torch(program: str, tmp_path: Path) -> None:
    code = f"import sys, runpy; sys.argv[:] = ['{program}', '--help']; sys.modules['torch'] = None; " + (
        f"runpy.run_path({str(TRAIN.with_name(program))!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"python {program} ")


def test_known_keys_are_those_of_the_schemas() -> None:
    assert sorted(known_keys("train")) == sorted(key for key in config.flat(config.compose()) if "_target_" not in key)
    assert text_keys() == config.text_keys()


def test_the_help_of_a_sweep_is_whole(tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = " ".join(inside("--help", cwd=tmp_path, program="sweep.py").stdout.split())
    for spec in (spec for name in EXECUTORS for spec in fields(executor_class(name))):
        assert spec.metadata["help"] in text
