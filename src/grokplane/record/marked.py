"""`grokplane marks FILE|RUN ...`: when the accuracies of recorded runs reached a threshold, and whether they stayed."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NoReturn

from grokplane.files import write_text
from grokplane.marks import Marks, marks, shown, summarise
from grokplane.options import ConfigError, one_of
from grokplane.pasting import program
from grokplane.record.frames import find_runs
from grokplane.record.rows import METRICS, read_rows
from grokplane.say import format_table, note, open_streams, say

DESCRIPTION = """\
Prints for each recorded run the first evaluation at or above a threshold (first), the first one that is followed by
several more (sustained) and the first one after which none is below (stable). Then the number of evaluations after the
sustained one that are below the threshold, the lowest accuracy after it, the number of separate collapses, and the
step of the last evaluation below."""
EPILOG = """\
A FILE is a CSV file with a head line. Rows of a run's folder without the column are no evaluations; empty and null
values are below every threshold. For several runs, a line for each threshold has the number of runs that reached it
and the median step with its 95% bootstrap interval. A run that never reached it counts as later than all others.

example:
  grokplane marks outputs/sweeps/optimizer_x_seed --threshold 0.95,0.99 --csv marks.csv

Exit code: 0; 2 for what cannot be read, with one line that says why."""
STEPS = ("step", "_step", "steps", "epoch")
ACCURACIES = ("Acc/test", "test_accuracy", "test_acc", "val_accuracy", "val_acc")
NAMES = tuple(spec.name for spec in fields(Marks))
STEP_NAMES = ("first", "sustained", "stable")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the marks of a command line; its exit code."""
    open_streams()
    try:
        options = _parser().parse_args(arguments)
        rows = list(_rows(options))
        if options.csv is not None:
            _write(rows, options.csv)
    except (ConfigError, OSError) as error:
        note(error if isinstance(error, ConfigError) else f"{error.filename or 'FILE'}: {error.strerror or error}")
        return 2
    head = ["run", "threshold", *(name.replace("_", " ") for name in NAMES)]
    say(format_table([head, *(_line(row) for row in rows)], [False, *[True] * (len(head) - 1)]))
    for threshold in options.threshold if len(rows) > len(options.threshold) else ():
        of_runs = [row for row in rows if row["threshold"] == threshold]
        told = "; ".join(f"{name} {summarise([row[name] for row in of_runs])}" for name in STEP_NAMES)
        say(f"{shown(threshold)}: {told}")
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Refuse in one line in place of printing the usage."""
        note(f"{self.prog}: {message}; --help explains")
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=program("marks"),
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="FILE|RUN", help="a CSV file, or a folder of a run or runs"
    )
    parser.add_argument("--column", metavar="NAME", help=f"the accuracy; default: the first of {', '.join(ACCURACIES)}")
    parser.add_argument("--steps", metavar="NAME", help=f"the steps; default: the first of {', '.join(STEPS)}")
    text = "thresholds with commas between them; default: 0.95"
    parser.add_argument("--threshold", type=_thresholds, default=[0.95], metavar="X,...", help=text)
    text = "further evaluations at or above the threshold that a sustained mark needs; default: 5"
    parser.add_argument("--sustained", type=int, default=5, metavar="N", help=text)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table as a CSV file too")
    return parser


def _thresholds(text: str) -> list[float]:
    try:
        return list(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be numbers with commas between them, not {text}") from None


def _rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row of the table for each run and threshold, as plain values."""
    for name, recorded in _recorded(options.runs):
        where = f"{name}: "
        columns = list(dict.fromkeys(key for row in recorded for key in row))
        steps = _column(where, "--steps", columns, options.steps, STEPS)
        accuracy = _column(where, "--column", columns, options.column, ACCURACIES)
        there = [row for row in recorded if accuracy in row]
        curve = [row[steps] for row in there], [row[accuracy] for row in there]
        for threshold in options.threshold:
            try:
                found = marks(*curve, threshold, options.sustained)
            except ConfigError as error:
                raise ConfigError(f"{where}{error.key}", error.value, error.allowed) from None
            yield {"run": name, "threshold": threshold, **asdict(found)}


def _recorded(places: Sequence[Path]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """The rows of each run by its name: the path as it was typed, and for a folder of runs what follows."""
    for place in (one.expanduser() for one in places):
        if not place.is_dir():
            yield str(place), _read_csv(place)
            continue
        try:
            found = find_runs(place)
        except FileNotFoundError as error:
            raise ConfigError("RUN", place, str(error)) from None
        for folder in found.values():
            name = place if folder == place.resolve() else place / folder.relative_to(place.resolve())
            yield str(name), list(read_rows(folder / METRICS))


def _read_csv(file: Path) -> list[Mapping[str, Any]]:
    """The rows of a CSV file; empty fields are None."""
    try:
        lines = list(csv.DictReader(file.read_text(encoding="utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError("FILE", file, f"is not a CSV file in UTF-8 ({error})") from None
    return [{key: value or None for key, value in line.items()} for line in lines]


def _column(where: str, option: str, columns: Sequence[str], asked: str | None, usual: Sequence[str]) -> str:
    """The column that was asked for, or the first usual one that is there."""
    if asked in columns:
        return str(asked)
    usual_there = [name for name in usual if name in columns]
    if asked is None and usual_there:
        return usual_there[0]
    named = [str(name) for name in columns if name is not None]
    allowed = one_of(asked or usual[0], named) if named else "has no rows"
    raise ConfigError(f"{where}{option}", asked, allowed)


def _line(row: Mapping[str, Any]) -> list[str]:
    texts = [row["run"], shown(row["threshold"])]
    for name in NAMES:
        value = row[name]
        missing = "never" if name in STEP_NAMES else "-"
        number = (
            value if isinstance(value, int) else f"{value:.4g}" if name == "lowest" and value is not None else value
        )
        texts.append(missing if value is None else f"{number:,}" if isinstance(number, int) else str(number))
    return texts


def _write(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the table as a CSV file, in which None is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["run", "threshold", *NAMES], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


if __name__ == "__main__":
    sys.exit(main())
