"""`metrics.jsonl`: one flat strict-JSON object per log point, readable after a crash at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from grokplane.files import atomic_file
from grokplane.strict_json import to_json

METRICS = "metrics.jsonl"


class RowWriter:
    """Appends rows to a file, each flushed at once: a crash leaves at most one torn last line."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "ab")  # noqa: SIM115 (open for as long as the run lasts)
        self._torn = False

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row; what is not finite becomes null."""
        line = to_json(row).encode() + b"\n"
        self._torn = True
        self._file.write(line)
        self._file.flush()
        self._torn = False

    def sync(self) -> None:
        """Make the rows written so far survive a loss of power."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; closing twice does nothing."""
        try:
            self._file.close()
        except OSError:  # the rest of a row that could not be written, of which `append` has told
            if not self._torn:
                raise


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All whole rows of a file, in order; a torn last line is left out.

    Raises:
        ValueError: for a damaged line that is not the last one.
    """
    return [row for _, row in _whole_lines(path)]


def rewind(path: Path, step: int) -> None:
    """Drop, atomically, the rows whose step is `step` or later and a torn last line; a resumed run logs them again."""
    if not path.exists():
        return
    kept = b"".join(line for line, row in _whole_lines(path) if row["step"] < step)
    if len(kept) != path.stat().st_size:
        with atomic_file(path) as file:
            file.write(kept)


def _whole_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        row = _parse(line)
        if row is not None:
            yield line, row
        elif number < len(lines):
            raise ValueError(f"{path}: line {number} is not a JSON object")


def _parse(line: bytes) -> dict[str, Any] | None:
    """The row, or None for a line that is torn: without its end, or not a JSON object."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
