"""Whose a run's folder is: refused, claimed or emptied for a new run."""

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
from grokplane.record.rows import METRICS
from grokplane.record.summary import SUMMARY, read_summary, write_failure

FIGURES = "figures"
PRUNED = "prune.csv"
SWEEP = ".sweep.json"  # whose a sweep's folder is, see `grokplane.sweep.place`
LOG = "train.log"  # which Hydra writes, or `grokplane.sweep.files`
# What is written in a run's folder, and whether it is a folder. W&B's own costs a warning, no run.
_KINDS = dict.fromkeys((LOCK, MARKER, METRICS, LOG, SUMMARY), False)
_KINDS |= dict.fromkeys((CHECKPOINTS, ARRAYS, FIGURES, ".hydra"), True)
_KINDS |= {f".hydra/{name}.yaml": False for name in ("config", "hydra", "overrides")}


# What a run leaves in its folder, from its very start on.
_TRACES = (METRICS, SUMMARY, CHECKPOINTS, LOG, ".hydra")


class FolderTaken(ConfigError):  # noqa: N818 (reads as what happened)
    """The folder already holds a run."""

    def __init__(self, folder: Path) -> None:
        allowed = "holds a run already: allowed with train.overwrite=true or train.resume=true"
        super().__init__("hydra.run.dir", folder, allowed)


def check_folder(folder: Path, *, overwrite: bool = False, resume: bool = False) -> None:
    """Refuse a folder that is in use or taken; reads only, so that a refused folder keeps every byte.

    Raises:
        FolderBusy: if another process writes there.
        FolderTaken: if it holds a `metrics.jsonl` and neither overwriting nor resuming was asked for.
        ConfigError: if it is a sweep's own, or what would be written there is a link to somewhere else, or is a
            folder where a run has a file, or the other way round.
    """
    check_no_sweep(folder, "hydra.run.dir")
    for name in (LOCK, MARKER, METRICS, LOG, SUMMARY, CHECKPOINTS, ARRAYS, FIGURES, ".hydra", "wandb"):
        if (folder / name).is_symlink():
            allowed = f"{name} there is a link, and what it leads to would be written: delete it, or choose another"
            raise ConfigError("hydra.run.dir", folder, allowed)
    _check_kinds(folder)
    if is_locked(folder):
        raise FolderBusy(folder, holder(folder))
    _check_free(folder, overwrite or resume)


def check_no_sweep(folder: Path, key: str) -> None:
    """Raise ConfigError, which names this key, for a folder in which the cells and the table of a sweep lie."""
    if (folder / SWEEP).exists():
        allowed = f"holds a sweep ({SWEEP} there): choose another folder, or one of its cells"
        raise ConfigError(key, folder, allowed)


def begun(folder: Path) -> bool:
    """Whether a run was begun in a folder, however short it was."""
    return any((folder / name).exists() for name in _TRACES)


def nearest(folder: Path) -> list[Path]:
    """Existing folders of runs, or on the way to them, that a mistyped name may have meant, best first."""
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
    """Refuse a file where a run has a folder, and the other way round: it would fail when that is written."""
    for name, is_folder in _KINDS.items():
        path = folder / name
        if path.exists() and (not path.is_dir() if is_folder else not path.is_file()):
            wanted, there = ("folder", "no folder") if is_folder else ("file", "no file")
            allowed = f"{name} there is {there}, and a run has a {wanted} of that name: move it, or choose another"
            raise ConfigError("hydra.run.dir", folder, allowed)


def _check_free(folder: Path, taken: bool) -> None:
    if (folder / METRICS).exists() and not taken:
        raise FolderTaken(folder)


def claim(folder: Path, *, overwrite: bool = False, resume: bool = False) -> FolderLock:
    """Check a folder and lock it, in one act: who started at the same time and came first may be done by now.

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
    """Delete what an earlier run recorded in the folder; `.hydra/` and `train.log` are left.

    `metrics.jsonl` goes last: until then the folder counts as taken. Without one there is no run, and what lies
    there is somebody's own.
    """
    if not (folder / METRICS).exists():
        return
    for name in (SUMMARY, CHECKPOINTS, ARRAYS, FIGURES, "wandb", PRUNED, METRICS):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def note_failure(folder: Path, line: str) -> dict[str, Any]:
    """Say in the folder's `summary.json` that the run failed and why; what it says besides is kept.

    Raises:
        ConfigError: another process writes there, or the summary is damaged.
        OSError: it cannot be written.
    """
    lock = FolderLock(folder)
    try:
        never = {"steps": 0, "grok": None, "diverged": None, "last": {}, "best": {}}
        summary = never | read_summary(folder) | {"status": "failed", "error": line}
        write_failure(folder, summary)
    finally:
        lock.release()
    return summary
