"""Ownership of a sweep's folder: one sweep, whose grid may grow with each call. A second sweep would lose the table."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from grokplane.app.composing import Composer
from grokplane.app.errors import REFUSALS, Refused, one_line
from grokplane.app.resume import disagreements, few
from grokplane.app.session import plain
from grokplane.app.stored import composed, module_of
from grokplane.app.untyped import known_keys
from grokplane.files import write_text
from grokplane.record import status
from grokplane.record.folder import SWEEP
from grokplane.record.rows import METRICS
from grokplane.strict_json import to_json
from grokplane.sweep.cells import Cell, earlier_cell
from grokplane.sweep.parsing import looks_up
from grokplane.sweep.sweepfile import SweepFile
from grokplane.sweep.table import TABLE

MULTIRUN = "multirun.yaml"  # written by Hydra


@dataclass(frozen=True)
class Place:
    """A sweep's folder and its recorded contents.

    Attributes:
        folder: the sweep's folder.
        program: the name of its program's config.
        keys: the swept keys, in the order of the cells' names.
        cells: overrides of each cell, in the order of `keys`, by the cell's folder.
        config: config of the first cell, nested.
        others: cells that this call does not include.
    """

    folder: Path
    program: str
    keys: tuple[str, ...]
    cells: Mapping[str, tuple[str, ...]]
    config: dict[str, Any]
    others: tuple[Cell, ...] = ()

    def write(self) -> None:
        """Record the sweep in the folder; the caller holds the folder's lock."""
        told = {"program": self.program, "keys": self.keys, "cells": self.cells, "config": self.config}
        write_text(self.folder / SWEEP, to_json(told) + "\n")


def find_place(folder: Path, sweep: SweepFile, cells: Sequence[Cell], composer: Composer) -> Place:
    """The folder as this sweep's, with the cells of earlier calls. Nothing is written.

    Sweeps with the same program and keys, and with cells whose configs are otherwise equal, are the same sweep. Their
    grids may be different parts of the whole.

    Raises:
        Refused: the folder holds something else; the message names the difference and the remedy.
    """
    _check_free(folder)
    for cell in cells:
        if cell.folder.exists() and not cell.folder.is_dir():
            _refuse(folder, "cannot be a sweep's", f"{cell.folder.name} in it is not a folder")
    first = next(cell for cell in cells if cell.config is not None)
    assert first.config is not None
    own = {cell.folder.name: cell.lines for cell in (first, *cells)}
    there = _read(folder)
    if there is None:
        return Place(folder, sweep.config_name, tuple(sweep.parameters), own, plain(first.config))
    if found := _differences(there, sweep, composer):
        _refuse(folder, "holds another sweep", found)
    left = {name: lines for name, lines in there.cells.items() if name not in own}
    others = [earlier_cell(lines, folder / name, composer) for name, lines in left.items()]
    for other in others:
        status(other.folder)  # a folder that cannot be read is refused now, not when the table is written
    return Place(folder, there.program, there.keys, {**there.cells, **own}, there.config, tuple(others))


def _check_free(folder: Path) -> None:
    """Refuse a folder that holds no sweep but a run, a multirun or other things in the place of a sweep's files."""
    if (folder / METRICS).exists():
        _refuse(folder, "holds a run", METRICS)
    if (folder / MULTIRUN).exists() and not (folder / SWEEP).exists():
        _refuse(folder, "holds a multirun", MULTIRUN)
    if folder.exists() and not folder.is_dir():
        _refuse(folder, "cannot be a sweep's", "it is not a folder")
    for name in (SWEEP, TABLE):
        if (folder / name).is_dir():
            _refuse(folder, "cannot be a sweep's", f"{name} in it is a folder")


def _refuse(folder: Path, what: str, why: str) -> NoReturn:
    raise Refused(f"{folder} {what}: {why}: name another folder with hydra.sweep.dir=FOLDER, or delete this one")


def _read(folder: Path) -> Place | None:
    """The sweep recorded in a folder; None without a record. The record may be damaged or written by other people."""
    try:
        told = json.loads((folder / SWEEP).read_text())
        keys, cells = tuple(told["keys"]), {name: tuple(lines) for name, lines in told["cells"].items()}
        named = {tuple(line.partition("=")[0] for line in lines) for lines in cells.values()}
        lines = itertools.chain(*cells.values())
        if named != {keys} or not isinstance(told["config"], dict) or any(map(looks_up, lines)):
            raise ValueError("its cells are not valid")
        if any(Path(name).name != name for name in cells):
            raise ValueError("a cell is outside of the folder")
        return Place(folder, str(told["program"]), keys, cells, told["config"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = f"{SWEEP} there is damaged ({' '.join(str(error).split())})"
        raise Refused(
            f"{folder}: {why}: name another folder with hydra.sweep.dir=FOLDER, or delete that file"
        ) from error


def _differences(there: Place, sweep: SweepFile, composer: Composer) -> str:
    """How a sweep differs from the recorded one; empty if it does not. The config is compared for the first cell."""
    if there.program != sweep.config_name:
        return f"it is a sweep of {there.program}.py, not of {sweep.config_name}.py"
    if there.keys != tuple(sweep.parameters):
        return f"it sweeps {', '.join(there.keys)}, not {', '.join(sweep.parameters)}"
    name, lines = next(iter(there.cells.items()))
    overrides = (*sweep.fixed.values(), *lines)
    try:
        asked = composer.compose(overrides, own=there.folder / name)
        return few(disagreements(plain(asked), _completed(there.config, module_of(asked))))
    except REFUSALS as error:
        return one_line(error, overrides, known_keys(sweep.config_name, overrides))


def _completed(stored: Mapping[str, Any], module: str | None) -> Mapping[str, Any]:
    """A stored config with the defaults of keys that the version which wrote it did not have."""
    try:
        return plain(composed(stored, [] if module is None else [module]))
    except REFUSALS:  # the first cell may be one that does not compose
        return stored
