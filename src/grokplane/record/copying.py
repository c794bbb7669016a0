"""The record of a branch begins with that of its run."""

from __future__ import annotations

import shutil
from pathlib import Path

from grokplane.files import atomic_file
from grokplane.record.arrays import ARRAYS, rewind_arrays
from grokplane.record.rows import METRICS, lines_before


def copy_record(parent: Path, folder: Path, step: int) -> None:
    """Copy the rows and the arrays of a run before a step into another folder, in place of what lies there.

    Args:
        parent: the folder of the run, which may still be training.
        folder: the other one, whose lock the caller holds.
        step: the first step that is not copied.

    Raises:
        ConfigError: a damaged row or array of the run.
    """
    files = sorted((parent / ARRAYS).glob("*.npz"))
    if files:
        (folder / ARRAYS).mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(file, folder / ARRAYS / file.name)
    rewind_arrays(folder, step)
    with atomic_file(folder / METRICS) as file:
        file.write(lines_before(parent / METRICS, step))
