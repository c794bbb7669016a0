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
from grokplane.sweep.table import format_table, over_seeds, table, write_table


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


def test_lasting_marks_and_values_at_the_mark_are_columns(cells: list[Cell], tmp_path: Path) -> None:
    marks = {"first": 8, "sustained": 9, "stable": None, "below": 2, "lowest": 0.5, "collapses": 1, "last_collapse": 20}
    grok = {"train_step": 5, "test_step": 8, "delay": 3, "threshold": 0.75, "at": {"0.95": {"Acc/unseen": marks}}}
    grok |= {"sustained_step": 9, "stable_step": None, "below": 2, "lowest": 0.5, "collapses": 1, "last_collapse": 20}
    summary = {"status": "finished", "steps": 9, "grok": grok, "last": {}, "best": {}}
    write_summary(cells[1].folder, summary | {"at_marks": {"test_step": {"step": 8, "Loss/test": 0.25}}})
    rows = table(cells, tmp_path)
    for name in ("sustained_step", "stable_step", "below", "lowest", "collapses", "last_collapse"):
        assert rows[1][f"grok.{name}"] == grok[name]
        assert rows[0][f"grok.{name}"] is None
    at = {name: rows[1][name] for name in rows[1] if name.startswith("grok.at.")}
    assert at == {f"grok.at.0.95.Acc/unseen.{name}": marks[name] for name in ("first", "sustained", "stable")}
    assert (rows[1]["at_marks.test_step.Loss/test"], rows[0]["at_marks.test_step.Loss/test"]) == (0.25, None)


def row(optimizer: str, seed: int, first: int | None, stable: int | None, **more: object) -> dict[str, object]:
    marks = {"grok.test_step": first, "grok.stable_step": stable, "grok.collapses": 0}
    return {"optimizer": optimizer, "seed": seed, "status": "finished"} | marks | more


def test_each_setting_has_a_line_with_its_seeds() -> None:
    rows = [row("adamw", 0, 100, 300), row("muon", 0, 50, None), row("adamw", 1, 200, 400)]
    rows += [row("muon", 1, 60, None), row("muon", 2, 70, 90, status="diverged"), row("muon", 3, 1, 1, status="dead")]
    rows += [row("sgd", 0, None, None)]
    assert over_seeds(rows, ["optimizer", "seed"]) == [
        "  optimizer=adamw generalised 2 of 2, median 150 (100 to 200); stable 2 of 2, median 350 (300 to 400)",
        "  optimizer=muon generalised 3 of 3, median 60 (50 to 70); stable 0 of 3",
    ]
    old = [row("adamw", seed, 100, None, **{"grok.collapses": None}) for seed in (0, 1)]
    assert over_seeds(old, ["seed"]) == ["  generalised 2 of 2, median 100 (100 to 100)"]
