"""`python -m grokplane.record.sync RUN`: rebuild a run's W&B run from what its folder records.

Reads `metrics.jsonl`, `.hydra/config.yaml`, `summary.json` and `figures/`; only `wandb/` is written. A run that the
server knows keeps its id and gets the steps that it lacks at its end.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from grokplane.record.load import stored_config
from grokplane.record.lock import holder, is_locked
from grokplane.record.options import Record
from grokplane.record.rows import METRICS, read_rows
from grokplane.record.summary import read_summary
from grokplane.record.tracking import Tracker, new_run_id
from grokplane.waiting import Doing


def main(arguments: Sequence[str] | None = None) -> int:
    """Sync one run.

    Returns:
        Exit code: 0; 1 if W&B could not be used as asked; 2 for a folder that cannot be synced.
    """
    parser = argparse.ArgumentParser(prog="python -m grokplane.record.sync", description="Rebuild a run's W&B run.")
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument("--mode", choices=("online", "offline"), default="online", help="default: online")
    options = parser.parse_args(arguments)
    refusal = _refusal(options.run)
    if refusal is not None:
        print(f"RUN={options.run}: {refusal}", file=sys.stderr)
        return 2
    with Doing("sending the run to W&B"):
        tracker, rows = sync(options.run, options.mode)
    if tracker.mode != options.mode:
        print(f"{options.run}: not synced {options.mode}: W&B is {tracker.mode}", file=sys.stderr)
        return 1
    print(f"{options.run}: {rows} rows to W&B run {tracker.run_id}, {tracker.mode}")
    return 0


def sync(folder: Path, mode: str) -> tuple[Tracker, int]:
    """Send a folder's rows, figures and summary to W&B.

    Args:
        folder: the run's folder.
        mode: `online` or `offline`.

    Returns:
        The finished tracker, whose `mode` says what was possible, and the number of rows.
    """
    config, summary = stored_config(folder), read_summary(folder)
    options = replace(_record(config), wandb=mode)
    known = config | {name: summary[name] for name in ("code",) if name in summary}
    tracker = Tracker(folder, known, options, summary.get("wandb_id") or new_run_id(), finish_timeout=600.0)
    rows = read_rows(folder / METRICS)
    for row in rows:
        tracker.log(row)
    for figure in sorted((folder / "figures").glob("*.*")):
        if figure.resolve().is_relative_to(folder.resolve()):  # a link may lead to any file of this machine
            tracker.log_image(figure)
    tracker.finish(summary)
    return tracker, len(rows)


def _refusal(folder: Path) -> str | None:
    if not (folder / METRICS).is_file():
        return f"must be the folder of a run, with a {METRICS}"
    return f"a process writes there ({holder(folder)}): wait until it has ended" if is_locked(folder) else None


def _record(config: dict[str, Any]) -> Record:
    recorded = config.get("record") or {}
    return Record(**{spec.name: recorded[spec.name] for spec in fields(Record) if spec.name in recorded})


if __name__ == "__main__":
    sys.exit(main())
