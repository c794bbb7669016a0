"""Ownership of a sweep's folder: the same sweep may grow, everything else is refused with the difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sweeping import COMMAND, GRID, sweep_file

from grokplane.app.composing import Composer
from grokplane.app.errors import Refused
from grokplane.sweep.cells import changed, make_cells
from grokplane.sweep.place import Place, find_place
from grokplane.sweep.sweepfile import read_sweep

SEEDS = {"seed": {"values": [0, 1]}}
REMEDY = "name another folder with hydra.sweep.dir=FOLDER, or delete this one"


@pytest.fixture(scope="module")
def composers() -> dict[str, Composer]:
    return {name: Composer(name) for name in ("train", "train_mnist")}


@pytest.fixture
def find(composers: dict[str, Composer], tmp_path: Path) -> Any:
    """The folder `there` as that of a sweep file with these keys and these overrides."""

    def found(*typed: str, **keys: Any) -> Place:
        sweep = read_sweep(sweep_file(tmp_path, **keys))
        composer = composers[sweep.config_name]
        sweep = changed(sweep, typed, composer)
        return find_place(tmp_path / "there", sweep, make_cells(sweep, tmp_path / "there", 0, composer), composer)

    (tmp_path / "there").mkdir()
    return found


def refused(find: Any, *typed: str, **keys: Any) -> str:
    """The line with which a sweep is refused there, without the folder."""
    with pytest.raises(Refused) as found:
        find(*typed, **keys)
    line = str(found.value)
    assert "\n" not in line
    return line.partition("there")[2]


@pytest.mark.parametrize(
    ("typed", "keys", "line"),
    {
        "base": (("data.p=11",), {}, "data.p=11 (there: 7): "),
        "grid": (
            ("optimizer.lr=0.1,1",),
            {},
            "it sweeps optimizer.weight_decay, seed, not optimizer.weight_decay, seed, ",
        ),
        "file": ((), {"parameters": SEEDS}, "it sweeps optimizer.weight_decay, seed, not seed: "),
        "order": (
            (),
            {"parameters": dict(reversed(GRID.items()))},
            "it sweeps optimizer.weight_decay, seed, not seed, ",
        ),
        "program": (
            (),
            {"program": "train_mnist.py", "command": None},
            "it is a sweep of train.py, not of train_mnist.py: ",
        ),
        "command": ((), {"command": None}, "data.train_fraction=0.6 (there: 0.5), data.p=53 (there: 7), "),
        "choice": (
            ("model=transformer",),
            {"command": None},
            "data.train_fraction=0.6 (there: 0.5), data.p=53 (there: 7), ",
        ),
    }.values(),
)
def test_another_sweep_is_refused_by_what_differs(
    typed: tuple[str, ...], keys: dict[str, Any], line: str, find: Any
) -> None:
    find().write()
    told = refused(find, *typed, **keys)
    assert told.startswith(f" holds another sweep: {line}")
    assert told.endswith(REMEDY)


def test_the_same_sweep_may_grow_shrink_and_be_longer(find: Any) -> None:
    first = find()
    assert (first.others, len(first.cells)) == ((), 6)
    first.write()
    assert find() == first
    assert find("train.steps=100", "record.project=other", "seed=0").cells == first.cells
    grown = find("optimizer.weight_decay=1,3", "seed=2,3")
    named = ["0.1,seed=0", "0.1,seed=1", "0.1,seed=2", "1,seed=0", "1,seed=1", "1,seed=2"]
    assert [cell.folder.name for cell in grown.others] == [
        f"optimizer.weight_decay={name}" for name in named if name != "1,seed=2"
    ]
    assert [cell.values for cell in grown.others][-1] == {"optimizer.weight_decay": 1, "seed": 1}
    assert list(grown.cells)[:6] == list(first.cells)
    assert len(grown.cells) == 6 + 3
    grown.write()
    assert len(find().others) == 3


def test_the_folder_of_an_earlier_version_that_lacked_a_key_is_the_same_sweeps(find: Any, tmp_path: Path) -> None:
    find().write()
    place = tmp_path / "there/.sweep.json"
    told = json.loads(place.read_text())
    assert told["config"]["metrics"]["loss"].pop("every") == 1
    place.write_text(json.dumps(told))
    assert len(find().cells) == 6
    told["config"]["metrics"]["sparsity"]["every"] = 2
    place.write_text(json.dumps(told))
    assert refused(find).startswith(" holds another sweep: metrics.sparsity.every=1 (there: 2): ")


def test_a_cell_that_never_composed_is_remembered_too(find: Any) -> None:
    parameters = {"data.train_fraction": {"values": [2, "1,2", 0.5]}, "seed": {"value": 0}}
    command = [part for part in COMMAND if not part.startswith("data.train_fraction")]
    find(parameters=parameters, command=command).write()
    later = find("data.train_fraction=0.4", parameters=parameters, command=command)
    assert [cell.values["data.train_fraction"] for cell in later.others] == [0.5, 2, "1,2"]


@pytest.mark.parametrize(
    ("name", "what"),
    [("metrics.jsonl", "a run"), ("multirun.yaml", "a multirun")],
)
def test_the_folder_of_something_else_is_refused(name: str, what: str, find: Any, tmp_path: Path) -> None:
    (tmp_path / "there" / name).touch()
    assert refused(find) == f" holds {what}: {name}: {REMEDY}"


def test_a_file_in_the_place_of_a_cell_is_named(find: Any, tmp_path: Path) -> None:
    (tmp_path / "there/optimizer.weight_decay=1,seed=0").touch()
    assert refused(find) == f" cannot be a sweep's: optimizer.weight_decay=1,seed=0 in it is not a folder: {REMEDY}"


@pytest.mark.parametrize("name", ["sweep.csv", ".sweep.json"])
def test_a_folder_in_the_place_of_a_file_is_named_before_the_end(name: str, find: Any, tmp_path: Path) -> None:
    (tmp_path / "there" / name).mkdir()
    assert refused(find) == f" cannot be a sweep's: {name} in it is a folder: {REMEDY}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        "\xff",
        '{"program": "train", "keys": ["seed"], "cells": {"a": ["seed=${oc.env:HOME}"]}, "config": {}}',
        '{"program": "train", "keys": ["seed"], "cells": {"a": ["lr=1"]}, "config": {}}',
        '{"program": "train", "keys": [], "cells": {}, "config": {}}',
        '{"program": "train", "keys": ["seed"], "cells": {"a": ["seed=1"]}, "config": 1}',
        '{"program": "train", "keys": ["seed"], "cells": {"../a": ["seed=1"]}, "config": {}}',
    ],
    ids=range(9),
)
def test_a_damaged_note_is_named(text: str, find: Any, tmp_path: Path) -> None:
    (tmp_path / "there/.sweep.json").write_text(text, encoding="latin-1")
    assert refused(find).startswith(": .sweep.json there is damaged (")
