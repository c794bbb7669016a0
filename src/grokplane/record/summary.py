"""`summary.json`: the outcome of a run as one JSON object, written atomically."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from grokplane.files import write_text
from grokplane.options import ConfigError
from grokplane.record.lock import is_locked
from grokplane.record.rows import METRICS, read_rows
from grokplane.strict_json import to_json

SUMMARY = "summary.json"
STATUSES = ("running", "finished", "diverged", "interrupted", "failed")
# Entries of a summary that are kept if the disk has no room for all.
_LEAST = ("status", "error", "steps", "diverged", "grok", "phase", "wandb_id")
_PACKAGES = ("torch", "numpy", "hydra-core", "omegaconf", "wandb", "grokplane")


class LastAndBest:
    """The last row of a run, and its best values: the highest of each `Acc/`, the lowest of each `Loss/`.

    Best values are only for information: no result is selected by them.
    """

    def __init__(self) -> None:
        self.last: dict[str, Any] = {}
        self.best: dict[str, dict[str, Any]] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Add one row of `metrics.jsonl`; among equal values the earliest step stays the best."""
        self.last = dict(row)
        for name, value in row.items():
            sign = {"Acc": 1, "Loss": -1}.get(name.split("/")[0])
            if sign is None or value is None:
                continue
            if name not in self.best or sign * value > sign * self.best[name]["value"]:
                self.best[name] = {"value": value, "step": row["step"]}


def at_marks(folder: Path, grok: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """The rows of a run's log points at which it fitted (`train_step`) and generalised (`test_step`), if it did.

    These rows have all metrics, whatever their `every`.

    Args:
        folder: the folder of the run, whose rows are complete.
        grok: its marks as `summary.json` holds them.
    """
    steps = {name: (grok or {}).get(name) for name in ("train_step", "test_step")}
    steps = {name: step for name, step in steps.items() if step is not None}
    if not steps:
        return {}
    rows = {row["step"]: row for row in read_rows(folder / METRICS) if row["step"] in steps.values()}
    return {name: rows[step] for name, step in steps.items() if step in rows}


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Replace the folder's `summary.json` atomically."""
    write_text(folder / SUMMARY, to_json(summary, indent=2) + "\n")


def write_failure(folder: Path, summary: Mapping[str, Any]) -> None:
    """Replace the summary of a failed run even if the disk is full: then with few entries, in the file's present space.

    Raises:
        OSError: the summary cannot be written at all.
    """
    try:
        return write_summary(folder, summary)
    except OSError:  # no room for a second file beside the first
        least = {name: summary[name] for name in _LEAST if name in summary} | {"last": {}, "best": {}}
    try:
        return write_summary(folder, least)
    except OSError:
        with open(folder / SUMMARY, "r+b") as file:
            file.write(f"{to_json(least)}\n".encode())
            file.truncate()


def cause(error: BaseException) -> str:
    """An error in one line; for a full disk also the remedy, even if the error is only a consequence."""
    full = _full_disk(error)
    if full is not None:
        return f"the disk is full ({full.strerror}): free some space and resume with train.resume=true"
    line = " ".join(str(error).split())
    if isinstance(error, ConfigError):
        return line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def _full_disk(error: BaseException | None) -> OSError | None:
    """The error of a full disk or quota, if an error or one of its causes is one."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return error
        error = error.__cause__ or error.__context__
    return None


def _checked(summary: Any) -> dict[str, Any]:
    """A summary whose entries have the right types; ValueError otherwise, as the file may come from other people."""
    if not isinstance(summary, dict):
        raise ValueError("it is not an object")
    kinds = {"status": str, "phase": str, "steps": int, "diverged": int, "wall_seconds": int | float, "wandb_id": str}
    for name, kind in kinds.items():
        value = summary.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
            raise ValueError(f"{name}={value!r}")
    if summary.get("status") not in (None, *STATUSES):
        raise ValueError(f"status={summary['status']!r}")
    if summary.get("status") == "diverged" and summary.get("diverged") is None:
        raise ValueError("diverged=null")
    return summary


def read_summary(folder: Path) -> dict[str, Any]:
    """The folder's summary; empty if there is none yet.

    Raises:
        ConfigError: this program did not write the file, or it cannot be read.
    """
    try:
        return _checked(json.loads((folder / SUMMARY).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError, IsADirectoryError) as error:
        raise ConfigError("hydra.run.dir", folder, f"{SUMMARY} there is damaged ({error}): delete that file") from error
    except OSError as error:
        allowed = f"{SUMMARY} there cannot be read ({error.strerror or error})"
        raise ConfigError("hydra.run.dir", folder, allowed) from error


def status(folder: Path) -> str:
    """The status of a run: `running` only while a living process holds its lock.

    Otherwise the summary's `finished`, `diverged`, `interrupted` or `failed`; `dead` for a run that was killed (its
    summary still says running, or is missing); `empty` for a folder without a run. Nothing is written. If the lock
    cannot be read, as in another user's archive, the summary's status is returned.
    """
    try:
        locked = is_locked(folder)
    except ConfigError:
        locked = read_summary(folder).get("status") == "running"
    if locked:
        return "running"
    recorded = read_summary(folder).get("status")
    if recorded is None:
        return "dead" if (folder / METRICS).exists() else "empty"
    return "dead" if recorded == "running" else recorded


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 of the config as canonical JSON: sorted keys, no spaces."""
    canonical = json.dumps(json.loads(to_json(config)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


@functools.cache
def versions() -> dict[str, str | None]:
    """Versions of Python and of packages that affect results; None for a package that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
