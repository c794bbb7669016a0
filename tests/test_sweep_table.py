"""The table of a sweep: a parameter and a recorded value of the same name are two columns."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas
import pytest
from sweeping import sweep_file

from grokplane.app.composing import Composer
from grokplane.record.summary import write_summary
from grokplane.sweep import command
from grokplane.sweep.cells import Cell, make_cells
from grokplane.sweep.sweepfile import read_sweep
from grokplane.sweep.table import format_table, table, write_table


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    """Three cells over grok.threshold, of which the first two have run."""
    path = sweep_file(tmp_path, parameters={"grok.threshold": {"values": [0.5, 0.75, 1.0]}})
    made = make_cells(read_sweep(path), tmp_path, 0, Composer("train"))
    for cell in made[:2]:
        cell.folder.mkdir()
        grok = {"train_step": 5, "test_step": None, "delay": None, "threshold": cell.values["grok.threshold"]}
        last = {"Acc/train": 0.6, "Acc/test": 0.1, "Loss/train": 1.0, "Loss/test": 2.0}
        write_summary(cell.folder, {"status": "finished", "steps": 9, "grok": grok, "last": last, "best": {}})
    return made


def test_a_swept_threshold_and_the_recorded_one_are_two_columns(cells: list[Cell], tmp_path: Path) -> None:
    rows = table(cells, tmp_path)
    write_table(rows, tmp_path / "sweep.csv")
    with open(tmp_path / "sweep.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["grok.threshold"] for row in read] == ["0.5", "0.75", "1.0"]
    assert [row["recorded.grok.threshold"] for row in read] == ["0.5", "0.75", ""]
    assert [row["status"] for row in read] == ["finished", "finished", "pending"]
    lines = format_table(rows, ["grok.threshold"]).splitlines()
    assert [line.split()[0] for line in lines] == ["grok.threshold", "0.5", "0.75", "1"]


def test_every_name_of_a_column_is_kept_beside_a_parameter_of_that_name(tmp_path: Path) -> None:
    names = [name for name in table([Cell({"seed": 0}, (), tmp_path, None)], tmp_path)[0] if name != "seed"]
    (row,) = table([Cell(dict.fromkeys(names, "asked"), (), tmp_path, None)], tmp_path)
    assert {row[name] for name in names} == {"asked"}
    assert {name.removeprefix("recorded.") for name in row.keys() - set(names)} == set(names)
    assert row["recorded.status"] == "pending"


def test_the_figure_is_given_the_threshold_of_each_cell(
    cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[pandas.DataFrame] = []

    def draw(frame: pandas.DataFrame, parameters: list[str], title: str) -> None:  # noqa: ARG001
        seen.append(frame)
        raise ValueError("seen")

    monkeypatch.setattr("grokplane.plot.sweeps.sweep_figure", draw)
    config = cells[0].config
    assert config is not None
    command._draw(table(cells, tmp_path), ["grok.threshold"], config, tmp_path)
    assert seen[0]["grok.threshold"].tolist() == [0.5, 0.75, 1.0]


def test_the_marks_of_the_tasks_of_a_mixture_are_columns_of_all_cells(cells: list[Cell], tmp_path: Path) -> None:
    parts = {"add": {"train_step": 3, "test_step": 8, "delay": 5}}
    grok = {"train_step": 5, "test_step": None, "delay": None, "threshold": 0.75, "parts": parts}
    write_summary(cells[1].folder, {"status": "finished", "steps": 9, "grok": grok, "last": {}, "best": {}})
    write_table(table(cells, tmp_path), tmp_path / "sweep.csv")
    with open(tmp_path / "sweep.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["grok.parts.add.test_step"] for row in read] == ["", "8", ""]
    assert [row["grok.parts.add.delay"] for row in read] == ["", "5", ""]
    assert [row["status"] for row in read] == ["finished", "finished", "pending"]
