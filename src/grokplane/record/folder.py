"""Ownership of a run's folder: checks, claiming, and deleting an earlier run."""

from __future__ import annotations

import difflib
import os
import shutil
from pathlib import Path
from typing import Any

from grokplane.options import ConfigError
from grokplane.record.arrays import ARRAYS
from grokplane.record.checkpoints import CHECKPOINTS
from grokplane.record.lock import LOCK, MARKER, FolderBusy, FolderLock, holder, is_locked
from grokplane.record.measured import MEASURED
from grokplane.record.rows import METRICS
from grokplane.record.summary import SUMMARY, read_summary, write_failure

FIGURES = "figures"
PRUNED = "prune"  # names of tables and figures of `grokplane.prune` begin so
SWEEP = ".sweep.json"  # record of a sweep's folder, see `grokplane.sweep.place`
LOG = "train.log"  # written by Hydra or `grokplane.sweep.files`
# Names in a run's folder, and whether each is a folder. A wrong one of W&B costs a warning, not the run.
_KINDS = dict.fromkeys((LOCK, MARKER, METRICS, MEASURED, LOG, SUMMARY), False)
_KINDS |= dict.fromkeys((CHECKPOINTS, ARRAYS, FIGURES, ".hydra"), True)
_KINDS |= {f".hydra/{name}.yaml": False for name in ("config", "hydra", "overrides")}


# Files that a run leaves in its folder, from its start on.
_TRACES = (METRICS, SUMMARY, CHECKPOINTS, LOG, ".hydra")


class FolderTaken(ConfigError):  # noqa: N818 (reads as what happened)
    """The folder already holds a run."""

    def __init__(self, folder: Path) -> None:
        allowed = "holds a run already: allowed with train.overwrite=true or train.resume=true"
        super().__init__("hydra.run.dir", folder, allowed)


def check_folder(folder: Path, *, overwrite: bool = False, resume: bool = False) -> None:
    """Refuse a folder that is in use or taken. Nothing is written.

    Raises:
        FolderBusy: another process writes there.
        FolderTaken: the folder holds a `metrics.jsonl`, and neither overwriting nor resuming was requested.
        ConfigError: the folder is a sweep's own; a path to write is a link; or a folder has the name of a run's file,
            or the other way round.
    """
    check_no_sweep(folder, "hydra.run.dir")
    for name in (LOCK, MARKER, METRICS, MEASURED, LOG, SUMMARY, CHECKPOINTS, ARRAYS, FIGURES, ".hydra", "wandb"):
        if (folder / name).is_symlink():
            allowed = f"{name} in it is a link, whose target would be overwritten: delete it, or choose another"
            raise ConfigError("hydra.run.dir", folder, allowed)
    _check_kinds(folder)
    if is_locked(folder):
        raise FolderBusy(folder, holder(folder))
    _check_free(folder, overwrite or resume)


def check_no_sweep(folder: Path, key: str) -> None:
    """Raise ConfigError, which names this key, for a folder that holds the cells and the table of a sweep."""
    if (folder / SWEEP).exists():
        allowed = f"holds a sweep ({SWEEP} there): choose another folder, or one of its cells"
        raise ConfigError(key, folder, allowed)


def begun(folder: Path) -> bool:
    """Whether a run has begun in a folder."""
    return any((folder / name).exists() for name in _TRACES)


def nearest(folder: Path) -> list[Path]:
    """Existing folders of runs, or their parents, with names similar to a mistyped one, best match first."""
    below = [child for child in sorted(folder.iterdir()) if begun(child)] if folder.is_dir() else []
    if below:
        return below[-3:]
    parts = folder.parts
    for length in range(len(parts) - 1, -1, -1):
        there = Path(*parts[:length])
        if there.is_dir() and os.access(there, os.R_OK):
            names = [child.name for child in there.iterdir() if child.is_dir() and child != folder]
            near = [there / name for name in difflib.get_close_matches(parts[length], names, cutoff=0.5)]
            whole = [Path(place, *parts[length + 1 :]) for place in near]
            return [place for place in whole if place.is_dir()] or near
    return []


def _check_kinds(folder: Path) -> None:
    """Refuse a file in the place of a run's folder, and a folder in the place of a file; writing would fail later."""
    for name, is_folder in _KINDS.items():
        path = folder / name
        if path.exists() and (not path.is_dir() if is_folder else not path.is_file()):
            wanted, there = ("folder", "not a folder") if is_folder else ("file", "not a file")
            allowed = f"{name} in it is {there}, where a run has a {wanted}: move it, or choose another"
            raise ConfigError("hydra.run.dir", folder, allowed)


def _check_free(folder: Path, taken: bool) -> None:
    if (folder / METRICS).exists() and not taken:
        raise FolderTaken(folder)


def claim(folder: Path, *, overwrite: bool = False, resume: bool = False) -> FolderLock:
    """Check and lock a folder. The checks are repeated under the lock, as another process may have come first.

    Raises:
        ConfigError: see `check_folder`.
    """
    check_folder(folder, overwrite=overwrite, resume=resume)
    lock = FolderLock(folder)
    try:
        _check_free(folder, overwrite or resume)
    except FolderTaken:
        lock.release()
        raise
    return lock


def delete_run(folder: Path) -> None:
    """Delete the results of an earlier run in the folder; `.hydra/` and `train.log` are kept.

    `metrics.jsonl` is deleted last: until then the folder counts as taken. A folder without that file holds no run, and
    nothing in it is deleted.
    """
    if not (folder / METRICS).exists():
        return
    tables = folder.glob(f"{PRUNED}*.csv")
    for path in (
        *(folder / name for name in (SUMMARY, CHECKPOINTS, ARRAYS, FIGURES, MEASURED, "wandb")),
        *tables,
        folder / METRICS,
    ):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def note_failure(folder: Path, line: str) -> dict[str, Any]:
    """Record in `summary.json` that the run failed, and why; other entries are kept.

    Raises:
        ConfigError: another process writes there, or the summary is damaged.
        OSError: the summary cannot be written.
    """
    lock = FolderLock(folder)
    try:
        never = {"steps": 0, "grok": None, "diverged": None, "last": {}, "best": {}}
        summary = never | read_summary(folder) | {"status": "failed", "error": line}
        write_failure(folder, summary)
    finally:
        lock.release()
    return summary
