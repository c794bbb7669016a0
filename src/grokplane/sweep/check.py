"""Checks of a sweep before anything is written: cells that cannot be built, keys that no cell reads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from grokplane.app.errors import REFUSALS, Refused
from grokplane.app.jobs import check_trainable
from grokplane.app.resume import forget_saved, run_config
from grokplane.app.unread import refuse_unread
from grokplane.record.rows import METRICS
from grokplane.sweep.cells import Cell
from grokplane.sweep.plan import Remaining
from grokplane.sweep.sweepfile import SweepFile

STEPS = "train.steps"


def refuse_hopeless(sweep: SweepFile, cells: Sequence[Cell], tasks: Sequence[Remaining], elsewhere: bool) -> None:
    """Refuse a new sweep of which no cell can be built, or of which no cell reads a key that the sweep fixes or varies.

    An unread key would give copies of the same run. Cells are built one by one until a cell reads all keys.

    Raises:
        Refused, ConfigError: see above.
    """
    if any(cell.folder.exists() for cell in cells):
        return
    said = {key: key for key in sweep.parameters} | dict(sweep.fixed)
    refuse_unread(said, _unread(tasks, elsewhere), f"{sweep.path}: ")


def _unread(tasks: Sequence[Remaining], elsewhere: bool) -> Iterator[Mapping[str, str]]:
    """The keys that a cell does not read, cell by cell; raises the first error if no cell can be built."""
    first, built = None, False
    for task in tasks:
        try:
            found = check_trainable(task.config, elsewhere)
        except REFUSALS as error:
            first = first or error
            continue
        except Exception:  # a failure of this cell only, which is reported when the cell is trained
            found = {}
        built = True
        yield found
    if first is not None and not built:
        raise first


def refuse_fewer_steps(sweep: SweepFile, cells: Sequence[Cell], tasks: Sequence[Remaining]) -> None:
    """Refuse `train.steps`, from the command line or the file's command, below that of every run that has begun.

    A cell may have been trained further by itself, so one cell with at most that many steps is enough. Nothing is
    written.

    Raises:
        Refused: names one cell and its number of steps.
    """
    said = {cell.folder: cell.config.train.steps for cell in cells if cell.config is not None and STEPS in sweep.fixed}
    longer = [task for task in tasks if task.config.train.steps > said.get(task.folder, math.inf)]
    if not longer or any(_steps(folder) <= steps for folder, steps in said.items()):
        return
    one = f"{longer[0].folder.name} has {longer[0].config.train.steps:,}"
    allowed = "leave it out, or name another folder with hydra.sweep.dir=FOLDER"
    raise Refused(f"{sweep.fixed[STEPS]}: cells that have begun can only be trained further, and {one}; {allowed}")


def _steps(folder: Path) -> float:
    """The number of steps that the run in a folder is to have; infinity if there is no run."""
    stored = run_config(folder) if (folder / METRICS).exists() else None
    forget_saved()
    return math.inf if stored is None else stored["train"]["steps"]
