"""Checkpoints of one run: written atomically, pruned, and read from the newest undamaged one."""

from __future__ import annotations

import io
import logging
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from grokplane.files import TEMPORARY, atomic_file
from grokplane.options import ConfigError

CHECKPOINTS = "checkpoints"
# The version of what a checkpoint holds. Checkpoints of version 0 have no such entry.
FORMAT = 1
_log = logging.getLogger(__name__)
# Errors of a damaged file whose message says enough.
_PLAIN = (RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile)


class NoCheckpoint(FileNotFoundError):  # noqa: N818 (reads as what happened)
    """A folder holds no readable checkpoint."""


class NewerFormat(ConfigError):  # noqa: N818 (reads as what happened)
    """A checkpoint was written by a later version of this program."""

    def __init__(self, path: Path, found: object) -> None:
        allowed = f"{path.name} there has format {found} and this version reads up to {FORMAT}: update grokplane"
        super().__init__("hydra.run.dir", path.parents[1], allowed)


class Saved(NamedTuple):
    """A checkpoint: its step (number of updates done) and the state that was given to `save`."""

    step: int
    state: dict[str, Any]


def is_power_of_two(step: int) -> bool:
    """Whether step is 1, 2, 4, 8, ..."""
    return step > 0 and step & (step - 1) == 0


class Checkpoints:
    """The checkpoints in `FOLDER/checkpoints`. `latest` only reads; `save` needs the folder's lock."""

    def __init__(self, folder: Path, keep: int | None = 2, stays: Callable[[int], bool] = lambda _: False) -> None:
        """Nothing is created before the first `save`.

        Args:
            folder: the run's folder.
            keep: number of regular checkpoints to keep besides those that always stay; None: all.
            stays: steps whose checkpoint always stays, besides powers of two and the final one.
        """
        self.folder = folder / CHECKPOINTS
        self._keep, self._stays = keep, stays

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
            torch.save({"format": FORMAT, **state}, file)
        self._prune(step, regular)
        return self.path(step)

    def latest(self) -> Saved:
        """The newest undamaged checkpoint, on the CPU; logs a warning for each damaged one that is skipped.

        Raises:
            NoCheckpoint: there is none.
            NewerFormat: a later version wrote the checkpoint.
            OSError: a checkpoint exists but cannot be read.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return Saved(step, _load(self.path(step)))
            except _DamagedError as error:
                back = "the one before it" if step > steps[0] else "the beginning, as there is none before it"
                _log.warning("%s is damaged (%s): falling back to %s", self.path(step), error, back)
        raise NoCheckpoint(f"{self.folder}: no checkpoint that can be read")

    def read(self, step: int) -> Saved:
        """The checkpoint of one step, on the CPU.

        Raises:
            ConfigError: it is damaged, or a later version wrote it.
            OSError: it cannot be read.
        """
        try:
            return Saved(step, _load(self.path(step)))
        except _DamagedError as error:
            raise ConfigError("step", step, f"{self.path(step)} is damaged ({error})") from error

    def _prune(self, newest: int, regular: bool) -> None:
        for leftover in self.folder.glob(f"step_*.pt{TEMPORARY}"):
            leftover.unlink()
        steps = self.steps()
        # Later ones were skipped as damaged when this run resumed; it will save those steps again.
        doomed = [step for step in steps if step > newest]
        others = [step for step in steps if not is_power_of_two(step) and not self._stays(step)]
        candidates = [step for step in others if 0 < step <= newest]
        if not regular and newest in candidates:
            candidates.remove(newest)
        doomed += [] if self._keep is None else candidates[: max(0, len(candidates) - self._keep)]
        for step in doomed:
            self.path(step).unlink()


class _DamagedError(Exception):
    """A checkpoint that cannot be decoded, and why in one line."""


def _load(path: Path) -> dict[str, Any]:
    state = _decoded(path.read_bytes())  # what cannot be read just now is an OSError, and is not damaged
    found = state.pop("format", 0) if isinstance(state, dict) else 0
    if type(found) is not int or found > FORMAT:
        raise NewerFormat(path, found)
    return state


def _decoded(content: bytes) -> Any:
    import torch

    data = io.BytesIO(content)
    try:
        with zipfile.ZipFile(data) as archive:
            damaged = archive.testzip()  # torch.load does not detect flipped bits
        if damaged is not None:
            raise ValueError(f"wrong checksum of {damaged}")
        data.seek(0)
        return torch.load(data, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        told = str(error) if isinstance(error, _PLAIN) else f"{type(error).__name__}: {error}"
        raise _DamagedError(told.partition("\n")[0] or type(error).__name__) from error
