"""The table of a sweep, one row per cell, for the terminal and for `sweep.csv`."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grokplane.files import write_text
from grokplane.marks import summarise
from grokplane.record import read_summary, status
from grokplane.sweep.cells import Cell

TABLE = "sweep.csv"
MARKS = ("train_step", "test_step", "delay", "threshold")
# Marks that say whether a run stayed at the threshold, and those of every threshold and curve (`grok.at.*`).
LASTING = ("sustained_step", "stable_step", "below", "lowest", "collapses", "last_collapse")
AT = ("first", "sustained", "stable")
SEEDS, ENDED = ("seed", "data.seed"), ("finished", "diverged")
SHOWN = ("Acc/train", "Acc/test", "Loss/train", "Loss/test")
OOD = ("Acc/ood", "Loss/ood")  # shown if a cell has recorded them


def table(cells: Sequence[Cell], root: Path) -> list[dict[str, Any]]:
    """A row for each cell.

    A row has the parameters by config key, then `status` (`grokplane.record.status`; `pending` for a cell without a
    folder), `steps`, `grok.*`, `phase`, `diverged`, accuracies and losses (`last.*`, `best.*`, and those at the log
    point at which the run generalised, `at_marks.test_step.*`), `error`, `folder` relative to the root, `grok.parts.*`
    for the tasks of a mixture, and `grok.at.*` for every threshold and curve. If a parameter has the name of one of
    these columns, that column is called `recorded.` and the name.
    """
    summaries = [read_summary(cell.folder) for cell in cells]
    shown = [*SHOWN, *(name for name in OOD if any(name in (one.get("last") or {}) for one in summaries))]
    return [_row(cell, root, summary, shown) for cell, summary in zip(cells, summaries, strict=True)]


def counted(rows: Sequence[Mapping[str, Any]]) -> str:
    """Number of cells by status: "32 cells: 31 finished, 1 diverged"."""
    counts = Counter(row["status"] for row in rows)
    return f"{len(rows)} cells: {', '.join(f'{count} {name}' for name, count in counts.items())}"


def over_seeds(rows: Sequence[Mapping[str, Any]], parameters: Sequence[str]) -> list[str]:
    """A line for each setting with several cells that are over: how many generalised and stayed so, and the medians.

    A setting is the values of all parameters but the seeds. A run that diverged did not stay generalised.
    """
    keys, over = [key for key in parameters if key not in SEEDS], dict[str, list[Mapping[str, Any]]]()
    for row in rows:
        if row["status"] in ENDED:
            over.setdefault(" ".join(f"{key}={_shown(row[key])}" for key in keys), []).append(row)
    return ["  " + " ".join([*filter(None, [name]), _in_words(some)]) for name, some in over.items() if len(some) > 1]


def _in_words(rows: Sequence[Mapping[str, Any]]) -> str:
    first = summarise(row["grok.test_step"] for row in rows)
    marked = [row for row in rows if row["grok.collapses"] is not None]  # earlier versions recorded first marks alone
    stable = summarise(row["grok.stable_step"] if row["status"] == "finished" else None for row in marked)
    return f"generalised {first}" + (f"; stable {stable}" if marked else "")


def write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write `sweep.csv` atomically, with the columns of all rows; missing values are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def format_table(rows: Sequence[Mapping[str, Any]], parameters: Sequence[str]) -> str:
    """The table for a terminal: parameters, status, steps, accuracies, grok steps, and the error if there is one.

    Of the grok steps it has the first ones and the one from which the run stayed at the threshold.
    """
    accuracies = [name for name in ("last.Acc/train", "last.Acc/test", "last.Acc/ood") if name in rows[0]]
    columns = [*parameters, "status", "steps", *accuracies, "grok.train_step", "grok.test_step", "grok.stable_step"]
    lines = [columns, *([_shown(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[number]) for line in lines) for number in range(len(columns))]
    texts = ["  ".join(part.rjust(width) for part, width in zip(line, widths, strict=True)) for line in lines]
    errors = ["", *(f"  {row['error']}" if row["error"] else "" for row in rows)]
    return "\n".join(f"{text}{error}" for text, error in zip(texts, errors, strict=True))


def _row(cell: Cell, root: Path, summary: Mapping[str, Any], shown: Sequence[str]) -> dict[str, Any]:
    outcome = _outcome(cell, root, summary, shown).items()
    # A sweep over grok.threshold sets a value, and a run that has begun has recorded one.
    return {**cell.values, **{f"recorded.{name}" if name in cell.values else name: value for name, value in outcome}}


def _outcome(cell: Cell, root: Path, summary: Mapping[str, Any], shown: Sequence[str]) -> dict[str, Any]:
    grok, last, best = (summary.get(part) or {} for part in ("grok", "last", "best"))
    generalised, now = (summary.get("at_marks") or {}).get("test_step") or {}, status(cell.folder)
    return {
        "status": "pending" if now == "empty" else now,
        "steps": summary.get("steps"),
        **{f"grok.{name}": grok.get(name) for name in (*MARKS, *LASTING)},
        "phase": summary.get("phase"),
        "diverged": summary.get("diverged"),
        **{f"last.{name}": last.get(name) for name in shown},
        **{f"best.{name}": best.get(name, {}).get("value") for name in shown},
        **{f"at_marks.test_step.{name}": generalised.get(name) for name in shown},
        "error": summary.get("error"),
        "folder": os.path.relpath(cell.folder, root),
        **{
            f"grok.parts.{part}.{name}": marks.get(name)
            for part, marks in (grok.get("parts") or {}).items()
            for name in MARKS[:3]
        },
        **{
            f"grok.at.{threshold}.{curve}.{name}": marks.get(name)
            for threshold, curves in (grok.get("at") or {}).items()
            for curve, marks in curves.items()
            for name in AT
        },
    }


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
