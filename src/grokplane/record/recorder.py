"""The recorder of one member: its folder, its lock, and all files that are written there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from grokplane.files import sync_folder
from grokplane.phases import phase_of
from grokplane.record.arrays import ARRAYS, ArrayWriter, rewind_arrays
from grokplane.record.checkpoints import Checkpoints
from grokplane.record.code import code
from grokplane.record.folder import claim, delete_run
from grokplane.record.lock import FolderLock
from grokplane.record.measured import MEASURED
from grokplane.record.options import Record
from grokplane.record.rows import METRICS, RowWriter, read_rows, rewind
from grokplane.record.summary import (
    STATUSES,
    SUMMARY,
    LastAndBest,
    at_marks,
    cause,
    config_hash,
    read_summary,
    versions,
    write_failure,
    write_summary,
)
from grokplane.record.tracking import Tracker, new_run_id
from grokplane.strict_json import strict

_log = logging.getLogger(__name__)


class Recorder:
    """Records a member. As a context manager, finishes as `failed` (Ctrl-C: `interrupted`) on an exception."""

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        options: Record,
        *,
        overwrite: bool = False,
        resume_step: int | None = None,
        keep_checkpoints: int | None = 2,
        stays: Callable[[int], bool] = lambda _: False,
        extra: Mapping[str, Any] | None = None,
        lock: FolderLock | None = None,
    ) -> None:
        """Open a folder for writing; from now on `summary.json` has the status `running`.

        Args:
            folder: the run's folder, created if needed.
            config: the member's whole config as plain nested dicts.
            options: the config's `record` group.
            overwrite: delete the run that the folder holds.
            resume_step: resume the run that the folder holds from this many updates (0: from its start).
            keep_checkpoints, stays: see `Checkpoints`.
            extra: further entries of `summary.json`, such as threads and device.
            lock: the folder's lock, from `claim`, released at the end; None: the folder is claimed here.

        Raises:
            FolderBusy, FolderTaken: see `check_folder`.
        """
        self.folder = folder
        self._lock = lock or claim(folder, overwrite=overwrite, resume=resume_step is not None)
        self._finished = False
        with ExitStack() as on_failure:
            on_failure.callback(self._lock.release)
            self.checkpoints = Checkpoints(folder, keep_checkpoints, stays)
            self._settle(overwrite, resume_step)
            self._rows = RowWriter(folder / METRICS)
            self._arrays = ArrayWriter(folder)
            on_failure.callback(self._rows.close)
            on_failure.push(self._tell)
            sync_folder(folder)
            self._summary |= {**(extra or {}), "versions": versions(), "code": code()}
            self._summary["config_hash"] = config_hash(config)
            self._write("running")
            self._tracker = Tracker(folder, {**config, "code": code()}, options, self._summary["wandb_id"])
            self._summary["wandb_id"] = self._tracker.run_id
            self._started = time.monotonic()
            self._write("running")
            on_failure.pop_all()

    def log(self, record: Mapping[str, Any]) -> None:
        """Write one flat record with its `step` to `metrics.jsonl` and W&B; update the last and best values.

        Its entry `arrays`, numpy arrays by metric and name, goes into `arrays/`.
        """
        self._arrays.append(record["step"], record.get(ARRAYS, {}))
        row = strict({name: value for name, value in record.items() if name != ARRAYS})
        self._rows.append(row)
        self._figures.add(row)
        self._step = max(self._step, row["step"])
        self._tracker.log(row)

    def checkpoint(
        self, step: int, state: Mapping[str, Any], *, regular: bool = True, grok: Mapping[str, Any] | None = None
    ) -> Path:
        """Save a state after `step` updates and update the summary.

        Args:
            step: number of updates done.
            state: see `Checkpoints.save`.
            regular: False for the run's last state.
            grok: the marks so far, see `finish`.
        """
        self._rows.sync()
        self._arrays.sync()
        self._summary["grok"] = dict(grok) if grok is not None else self._summary["grok"]
        path = self.checkpoints.save(step, state, regular)
        self._step = max(self._step, step)
        self._write("running")
        return path

    def image(self, path: Path) -> None:
        """Log a figure to W&B, at the last step."""
        self._tracker.log_image(path)

    def finish(
        self,
        status: str,
        *,
        step: int | None = None,
        grok: Mapping[str, Any] | None = None,
        diverged: int | None = None,
        error: str | None = None,
    ) -> dict[str, Any]:
        """Close the run: W&B, `metrics.jsonl`, the summary, the lock. A second call has no effect.

        Args:
            status: `finished`, `diverged`, `interrupted` or `failed`.
            step: number of updates done; by default the latest step that was logged or saved.
            grok: `train_step`, `test_step`, `delay` (None if never reached), `threshold`, `questions` and further
                marks; None: the last value that was given.
            diverged: the first step whose training loss was not finite.
            error: the reason of a failure, in one line.

        Returns:
            The summary as written.
        """
        if status not in STATUSES[1:]:
            raise ValueError(f"status {status!r}: allowed: {', '.join(STATUSES[1:])}")
        if self._finished:
            return read_summary(self.folder)
        self._step = self._step if step is None else step
        self._summary |= {"grok": dict(grok) if grok is not None else self._summary["grok"], "diverged": diverged}
        self._summary |= {} if error is None else {"error": error}
        if status == "finished":
            self._summary["phase"] = phase_of(self._figures.last, self._summary["grok"])
        if status != "failed":
            self._summary["at_marks"] = at_marks(self.folder, self._summary["grok"])
        with ExitStack() as exits:  # releases files and lock even after an error
            exits.callback(self._let_go)
            exits.callback(self._rows.close)
            exits.callback(self._arrays.close)
            self._end(status)  # before W&B, whose upload may take long or be killed
            self._tracker.finish({**self._summary, "status": status})
        return read_summary(self.folder)

    def _let_go(self) -> None:
        self._lock.release()
        self._finished = True

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or self._finished:
            return
        if not isinstance(error, Exception):
            self.finish("interrupted")
            return
        try:
            self.finish("failed", error=cause(error))
        except OSError as found:  # the run's own error must be the one that is raised
            _log.warning("%s: %s cannot be written: %s", self.folder, SUMMARY, found)

    def _tell(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:  # noqa: ARG002 (the signature of an exit)
        """Record why the recorder could not start."""
        if isinstance(error, Exception):
            self._summary["error"] = cause(error)
            with suppress(OSError):
                write_failure(self.folder, self._told("failed"))

    def _end(self, status: str) -> None:
        """Write the last summary; if the disk is full, a short one that says that the run failed, and why."""
        try:
            self._write(status)
        except OSError as error:
            self._summary.setdefault("error", cause(error))
            write_failure(self.folder, self._told("failed"))
            if status != "failed":
                raise

    def _settle(self, overwrite: bool, resume_step: int | None) -> None:
        if overwrite:
            delete_run(self.folder)
        earlier = {} if resume_step is None else read_summary(self.folder)
        metrics = self.folder / METRICS
        self._step = resume_step or 0
        if resume_step is not None:
            rewind(metrics, resume_step)
            rewind(self.folder / MEASURED, resume_step)
        rewind_arrays(self.folder, self._step)
        self._figures = LastAndBest()
        earlier_rows = read_rows(metrics) if metrics.exists() else []
        for row in earlier_rows:
            self._figures.add(row)
        if resume_step and not earlier_rows:  # rows are written before the checkpoint of a later step
            _log.warning("%s: %s there has no row before step %d: they are lost", self.folder, METRICS, resume_step)
        self._earlier_seconds = float(earlier.get("wall_seconds") or 0.0)
        self._started = time.monotonic()
        self._summary: dict[str, Any] = {
            "wandb_id": earlier.get("wandb_id") or new_run_id(),
            "grok": None,
            "phase": None,
            "diverged": None,
        }

    def _write(self, status: str) -> None:
        write_summary(self.folder, self._told(status))

    def _told(self, status: str) -> dict[str, Any]:
        seconds = self._earlier_seconds + time.monotonic() - self._started
        own_steps = self._step - (self._summary.get("parent") or {}).get("step", 0)  # a branch begins at a later step
        figures = {
            "status": status,
            "steps": self._step,
            "wall_seconds": seconds,
            "steps_per_second": own_steps / seconds if seconds > 0 else None,
            "last": self._figures.last,
            "best": self._figures.best,
        }
        return figures | self._summary
