"""Tiny sweep files, calls of sweep.py, and their results."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
import yaml
from command import TINY, state

SWEEP = "sweep.py"
OFF = "record.wandb=disabled"
# Keys for the agent only, which sweep.py ignores.
ONLINE = "record.wandb=online"
FIXED = (*TINY, "record.figures=false", "mi=off", "train.steps=60", "log.every=20", "log.dense_steps=2")
COMMAND = ("${env}", "${interpreter}", "${program}", *FIXED, ONLINE, "${args_no_hyphens}")
GRID = {"optimizer.weight_decay": {"values": [0.1, 1]}, "seed": {"values": [0, 1, 2]}}


def sweep_file(folder: Path, name: str = "tiny", **keys: Any) -> Path:
    """A sweep file of 2 x 3 cells, with some of its keys replaced; a key that is None is left out."""
    content = {"program": "train.py", "method": "grid", "command": list(COMMAND), "parameters": GRID} | keys
    path = folder / f"{name}.yaml"
    path.write_text(
        yaml.safe_dump({key: value for key, value in content.items() if value is not None}, sort_keys=False)
    )
    return path


def table(folder: Path) -> dict[str, dict[str, str]]:
    """The rows of `sweep.csv` by the cell's folder."""
    with open(folder / "sweep.csv", newline="") as file:
        return {row["folder"]: row for row in csv.DictReader(file)}


def cells(folder: Path) -> list[Path]:
    """The cells' folders."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def assert_close_weights(one: Path, other: Path) -> None:
    """Assert that the last weights of two runs are equal up to round-off."""
    ours, theirs = state(one), state(other)
    assert ours["step"] == theirs["step"]
    assert ours["model"].keys() == theirs["model"].keys()
    for name, value in ours["model"].items():
        torch.testing.assert_close(value, theirs["model"][name], rtol=1e-4, atol=1e-6)


def assert_close_rows(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Assert that two runs recorded the same metrics up to round-off."""
    assert [row.keys() for row in ours] == [row.keys() for row in theirs]
    for one, other in zip(ours, theirs, strict=True):
        for key, value in one.items():
            if value is None:
                assert other[key] is None, key
            else:
                assert abs(value - other[key]) <= 1e-3 * abs(value) + 1e-6, (key, value, other[key])
