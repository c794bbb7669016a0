"""Folders of a sweep's cells may be damaged or written by other people: the cell is named, nothing is written."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import digest, last_checkpoint
from sweeping import OFF, sweep_file

from grokplane.app.composing import Composer
from grokplane.app.errors import Refused
from grokplane.app.session import execute
from grokplane.sweep.cells import Cell, changed, make_cells
from grokplane.sweep.plan import left_to_do
from grokplane.sweep.sweepfile import read_sweep

Spoil = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    """The first of a sweep's two cells, trained."""
    folder = tmp_path_factory.mktemp("sweep")
    composer = Composer("train")
    sweep = changed(read_sweep(sweep_file(folder)), ["seed=0,1", "optimizer.weight_decay=1", OFF], composer)
    first, _ = make_cells(changed(sweep, ["train.steps=4"], composer), folder, 0, composer)
    assert first.config is not None
    execute([first.config], [first.folder])
    return first


def spoilt(cell: Cell, folder: Path, spoil: Spoil) -> Cell:
    """The cell elsewhere, with a change to the config in its checkpoint."""
    shutil.copytree(cell.folder, folder / cell.folder.name)
    path = last_checkpoint(folder / cell.folder.name)
    state = torch.load(path, weights_only=True)
    spoil(state["config"])
    torch.save(state, path)
    return Cell(cell.values, cell.overrides, folder / cell.folder.name, copy.deepcopy(cell.config))


@pytest.mark.parametrize(
    ("spoil", "line"),
    {
        "text": (lambda config: config["train"].update(steps="x"), "train.steps=x: "),
        "none": (lambda config: config["train"].update(steps=None), "train.steps=null: "),
        "endless": (
            lambda config: config["train"].update(steps=10**30),
            "train.steps=1000000000000000000000000000000: ",
        ),
        "missing": (lambda config: config.pop("train"), "train=null: the stored config must say what it is"),
        "cyclic": (lambda config: config.update(train=config), "config={...}: the stored config holds itself"),
        "looked up": (
            lambda config: config.update(name="${oc.env:HOME}"),
            "name=${oc.env:HOME}: a stored config refers",
        ),
        "other": (lambda config: config["data"].update(p=11), "data.p=7 (there: 11)"),
    }.values(),
)
def test_a_stored_config_that_is_none_of_ours_is_named(spoil: Spoil, line: str, cell: Cell, tmp_path: Path) -> None:
    found = spoilt(cell, tmp_path, spoil)
    before = digest(tmp_path)
    with pytest.raises(Refused) as told:
        left_to_do([found])
    start = f"{tmp_path} holds runs that this call cannot resume: {cell.folder.name}: {line}"
    assert str(told.value).startswith(start)
    assert str(told.value).endswith(": name another folder with hydra.sweep.dir=FOLDER, or delete these")
    assert digest(tmp_path) == before


def test_a_cell_that_was_made_longer_by_itself_goes_on_to_its_own_end(cell: Cell, tmp_path: Path) -> None:
    assert left_to_do([cell]) == []
    found = spoilt(cell, tmp_path, lambda config: config["train"].update(steps=6))
    (task,) = left_to_do([found])
    assert (task.step, task.config.train.steps) == (4, 6)
