"""`metrics.jsonl`: one flat strict-JSON object per log point, readable after a crash at any moment."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from grokplane.files import atomic_file
from grokplane.options import ConfigError
from grokplane.strict_json import to_json

METRICS = "metrics.jsonl"


class RowWriter:
    """Append rows to a file and flush each one, so that a crash leaves at most one torn last line."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "ab")  # noqa: SIM115 (open for as long as the run lasts)
        self._torn = False

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row; non-finite values become null."""
        line = to_json(row).encode() + b"\n"
        self._torn = True
        self._file.write(line)
        self._file.flush()
        self._torn = False

    def sync(self) -> None:
        """Make the rows written so far survive a power failure."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; a second call has no effect."""
        try:
            self._file.close()
        except OSError:  # the rest of a row that could not be written; `append` has raised the error
            if not self._torn:
                raise


def read_rows(path: Path, fractions: bool = False) -> list[dict[str, Any]]:
    """All complete rows of a file, in order; a torn last line is left out.

    Args:
        path: the file.
        fractions: whether steps may be fractions, as in runs of other programs.

    Raises:
        ConfigError: a line other than the last one is damaged. Damaged rows are never dropped silently.
    """
    return [row for _, row in _whole_lines(path, fractions)]


def rewind(path: Path, step: float) -> None:
    """Remove, atomically, rows at `step` or later and a torn last line; a resumed run logs them again.

    Raises:
        ConfigError: see `read_rows`; the file stays unchanged.
    """
    if not path.exists():
        return
    kept = lines_before(path, step)
    if len(kept) != path.stat().st_size:
        with atomic_file(path) as file:
            file.write(kept)


def lines_before(path: Path, step: float) -> bytes:
    """The lines of the rows before a step; a torn last line is left out.

    Raises:
        ConfigError: see `read_rows`.
    """
    return b"".join(line for line, row in _whole_lines(path) if row["step"] < step)


def _whole_lines(path: Path, fractions: bool = False) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The rows with their lines; a torn last line is left out, and empty lines are skipped."""
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            if line.strip():
                yield line, _parse(line, fractions)
        except ValueError as error:
            if number < len(lines) or line.endswith(b"}\n"):  # a line with its end is damaged, not torn
                why = (
                    f"{path}: line {number} of {len(lines)} is damaged ({error}): delete that line, or the run's folder"
                )
                raise ConfigError("hydra.run.dir", path.parent, why) from error


def _parse(line: bytes, fractions: bool) -> dict[str, Any]:
    """The row. Raises ValueError for a line that is torn or damaged: without its end, or no JSON object with a step."""
    if not line.endswith(b"\n"):
        raise ValueError("its end is missing")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise ValueError("it is not a JSON object")
    step = row.get("step")
    whole = isinstance(step, int) and not isinstance(step, bool)
    if not (whole or (isinstance(step, float) and (step.is_integer() or (fractions and math.isfinite(step))))):
        raise ValueError("it has no step" if step is None else f"step={step!r}")
    return row
