"""`measured.jsonl`: what was measured over a run's checkpoints after training, beside `metrics.jsonl`.

Each line is the values of one metric at one step. Rows are appended; a later row of the same metric and step replaces
an earlier one. A resumed run drops rows from its checkpoint's step on, as it does in `metrics.jsonl`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grokplane.record.rows import RowWriter, read_rows, rewind

MEASURED = "measured.jsonl"


class MeasuredWriter(RowWriter):
    """Appends to a run's `measured.jsonl`; needs the folder's lock."""

    def __init__(self, folder: Path) -> None:
        """Open the file; the torn last line of a crash is removed first."""
        rewind(folder / MEASURED, math.inf)
        super().__init__(folder / MEASURED)

    def add(self, step: int, metric: str, values: Mapping[str, float]) -> None:
        """Write the values, by name, of a metric at a step."""
        self.append({"step": step, "metric": metric, "values": values})


def measured(folder: Path) -> set[tuple[int, str]]:
    """The steps and metrics, as they were given to `add`, that a run's `measured.jsonl` holds."""
    return {(row["step"], row["metric"]) for row in _rows(folder)}


def with_measured(rows: Sequence[Mapping[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """The rows of a run with what was measured later.

    A recorded value stays where both files have one. A step that has only measured values gets a row of its own.

    Args:
        rows: of `metrics.jsonl`, in the order of their steps.
        folder: the run's folder.
    """
    later: dict[int, dict[str, Any]] = {}
    for row in _rows(folder):
        later.setdefault(row["step"], {}).update(row["values"])
    joined = [{**row, **_new(later.pop(row["step"], {}), row)} for row in rows]
    return sorted([*joined, *({"step": step} | values for step, values in later.items())], key=lambda row: row["step"])


def _new(values: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in row}


def _rows(folder: Path) -> list[dict[str, Any]]:
    path = folder / MEASURED
    return read_rows(path) if path.exists() else []
