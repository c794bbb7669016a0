"""What is refused of a sweep before anything is written: cells that cannot be built, words that no cell heeds."""

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
    """Refuse a sweep that has not begun and of which no cell can be built, or none reads a key that it fixes or varies.

    What the file or the call says in vain would make copies of the same run. Cells are built until one reads all keys.

    Raises:
        Refused, ConfigError: see above.
    """
    if any(cell.folder.exists() for cell in cells):
        return
    said = {key: key for key in sweep.parameters} | dict(sweep.fixed)
    refuse_unread(said, _unread(tasks, elsewhere), f"{sweep.path}: ")


def _unread(tasks: Sequence[Remaining], elsewhere: bool) -> Iterator[Mapping[str, str]]:
    """The keys that a cell does not read, of one after the other; raises the first refusal if none can be built."""
    first, built = None, False
    for task in tasks:
        try:
            found = check_trainable(task.config, elsewhere)
        except REFUSALS as error:
            first = first or error
            continue
        except Exception:  # whatever it is, it is that cell's own failure, told of when it is its turn
            found = {}
        built = True
        yield found
    if first is not None and not built:
        raise first


def refuse_fewer_steps(sweep: SweepFile, cells: Sequence[Cell], tasks: Sequence[Remaining]) -> None:
    """Refuse steps, typed or in the file's command, that no cell that has begun would stop at; reads only.

    A cell may have been taken further by itself, so one that has as few as the sweep says is enough.

    Raises:
        Refused: naming one cell and its steps.
    """
    said = {cell.folder: cell.config.train.steps for cell in cells if cell.config is not None and STEPS in sweep.fixed}
    longer = [task for task in tasks if task.config.train.steps > said.get(task.folder, math.inf)]
    if not longer or any(_steps(folder) <= steps for folder, steps in said.items()):
        return
    one = f"{longer[0].folder.name} has {longer[0].config.train.steps:,}"
    allowed = "leave it out, or name another folder with hydra.sweep.dir=FOLDER"
    raise Refused(f"{sweep.fixed[STEPS]}: only upward where cells have begun, and {one}; {allowed}")


def _steps(folder: Path) -> float:
    """How many steps the run in a folder is to have; infinity where there is none."""
    stored = run_config(folder) if (folder / METRICS).exists() else None
    forget_saved()
    return math.inf if stored is None else stored["train"]["steps"]
