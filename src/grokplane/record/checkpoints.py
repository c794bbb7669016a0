"""Checkpoints of one run: written atomically, pruned, and read from the newest undamaged one."""

from __future__ import annotations

import io
import logging
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from grokplane.files import TEMPORARY, atomic_file

CHECKPOINTS = "checkpoints"
_log = logging.getLogger(__name__)
# OSError is not among them: a file that cannot be read at the moment is not damaged, and pruning would delete it.
_DAMAGE = (RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile)


class NoCheckpoint(FileNotFoundError):  # noqa: N818 (reads as what happened)
    """A folder holds no readable checkpoint."""


class Saved(NamedTuple):
    """A checkpoint: its step (number of updates done) and the state that was given to `save`."""

    step: int
    state: dict[str, Any]


def is_power_of_two(step: int) -> bool:
    """Whether step is 1, 2, 4, 8, ..."""
    return step > 0 and step & (step - 1) == 0


class Checkpoints:
    """The checkpoints in `FOLDER/checkpoints`. `latest` only reads; `save` needs the folder's lock."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        """Nothing is created before the first `save`.

        Args:
            folder: the run's folder.
            keep: number of regular checkpoints to keep besides those at powers of two and the final one.
        """
        self.folder = folder / CHECKPOINTS
        self.keep = keep

    def path(self, step: int) -> Path:
        """The path of a step's checkpoint."""
        return self.folder / f"step_{step:08d}.pt"

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, damaged or not, in ascending order."""
        names = (re.fullmatch(r"step_(\d{8,})\.pt", path.name) for path in self.folder.glob("step_*.pt"))
        return sorted(int(name[1]) for name in names if name is not None)

    def save(self, step: int, state: Mapping[str, Any], regular: bool = True) -> Path:
        """Save a state, then prune. With `regular=False` (the end of a run), this call's pruning spares the checkpoint.

        Args:
            step: number of updates done.
            state: a plain dict of tensors, numbers, strings, and dicts and lists of them, without wall-clock times.
            regular: whether the checkpoint counts among the last `keep`.
        """
        import torch

        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(self.path(step)) as file:
            torch.save(dict(state), file)
        self._prune(step, regular)
        return self.path(step)

    def latest(self) -> Saved:
        """The newest undamaged checkpoint, on the CPU; logs a warning for each damaged one that is skipped.

        Raises:
            NoCheckpoint: there is none.
            OSError: a checkpoint exists but cannot be read.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return Saved(step, _load(self.path(step)))
            except _DAMAGE as error:
                cause = str(error).partition("\n")[0] or type(error).__name__
                back = "the one before it" if step > steps[0] else "the beginning, as there is none before it"
                _log.warning("%s is damaged (%s): falling back to %s", self.path(step), cause, back)
        raise NoCheckpoint(f"{self.folder}: no checkpoint that can be read")

    def _prune(self, newest: int, regular: bool) -> None:
        for leftover in self.folder.glob(f"step_*.pt{TEMPORARY}"):
            leftover.unlink()
        steps = self.steps()
        # Later ones were skipped as damaged when this run resumed; it will save those steps again.
        doomed = [step for step in steps if step > newest]
        candidates = [step for step in steps if 0 < step <= newest and not is_power_of_two(step)]
        if not regular and newest in candidates:
            candidates.remove(newest)
        doomed += candidates[: max(0, len(candidates) - self.keep)]
        for step in doomed:
            self.path(step).unlink()


def _load(path: Path) -> dict[str, Any]:
    import torch

    data = io.BytesIO(path.read_bytes())  # errors from here on mean that the content is damaged
    try:
        with zipfile.ZipFile(data) as archive:
            damaged = archive.testzip()  # torch.load does not detect flipped bits
        if damaged is not None:
            raise ValueError(f"wrong checksum of {damaged}")
        data.seek(0)
        return torch.load(data, map_location="cpu", weights_only=True)
    except (MemoryError, *_DAMAGE):
        raise
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
