"""`--help` is whole: no description ends in the middle of a sentence, however narrow the terminal."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from command import Inside

from grokplane import config
from grokplane.sweep.executors import EXECUTORS, executor_class


def _lines(file: Path) -> list[str]:
    """What a config's comments say of it, a line each."""
    lines = (line.removeprefix("# ") for line in file.read_text().splitlines() if line.startswith("# "))
    return [line for line in lines if not line.startswith("@package")]


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
            comment = " ".join(
                line for line in _lines(config.CONFIGS / group / f"{name}.yaml") if "@package" not in line
            )
            sentence = comment[: comment.index(". ") + 1] if ". " in comment else comment
            assert sentence.endswith(".")
            assert told.startswith(sentence), name
    for spec in (spec for node in config.nodes(config.compose()) for spec in _specs(node[1])):
        assert spec.metadata["help"] in text or program != "train.py"


def _specs(node: config.DictConfig) -> list[Any]:
    schema: Any = config.OmegaConf.get_type(node)
    found = fields(schema) if hasattr(schema, "__dataclass_fields__") else ()
    return [spec for spec in found if spec.metadata.get("help") and not isinstance(node[spec.name], config.DictConfig)]


def test_the_help_of_a_sweep_is_whole(tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = " ".join(inside("--help", cwd=tmp_path, program="sweep.py").stdout.split())
    for spec in (spec for name in EXECUTORS for spec in fields(executor_class(name))):
        assert spec.metadata["help"] in text
