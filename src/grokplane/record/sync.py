"""`python -m grokplane.record.sync RUN`: rebuild a run's W&B run from its folder.

Reads `metrics.jsonl`, `.hydra/config.yaml`, `summary.json` and `figures/`, and writes only `wandb/`. A run that the
server knows keeps its id, and the missing steps are appended.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from grokplane.options import ConfigError
from grokplane.pasting import program
from grokplane.record.frames import stored_config
from grokplane.record.lock import holder, is_locked
from grokplane.record.options import Record
from grokplane.record.rows import METRICS, read_rows
from grokplane.record.summary import read_summary
from grokplane.record.tracking import Tracker, new_run_id
from grokplane.record.wandb_mode import base_url, obstacle, one_line
from grokplane.say import note, open_streams, say
from grokplane.waiting import BEFORE_REFUSALS, Doing


def main(arguments: Sequence[str] | None = None) -> int:
    """Sync one run.

    Returns:
        Exit code: 0; 1 if W&B could not be used as requested; 2 for a folder that cannot be synced.
    """
    open_streams()
    parser = argparse.ArgumentParser(prog=program("sync"), description="Rebuild a run's W&B run.")
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument("--mode", choices=("online", "offline"), default="online", help="default: online")
    options = parser.parse_args(arguments)
    try:
        recorded = _recorded(options.run)
    except (ConfigError, ValueError, OSError) as error:
        note(error if isinstance(error, ConfigError) else f"RUN={options.run}: {error}")
        return 2
    with Doing("asking W&B", BEFORE_REFUSALS):
        why = _unusable() if options.mode == "online" else None
    if why is not None:
        note(f"{options.run}: not synced: {why}: log in with `wandb login`, or use --mode offline")
        return 1
    with Doing("sending the run to W&B"):
        tracker, rows = sync(options.run, options.mode, recorded)
    if tracker.mode != options.mode:
        note(f"{options.run}: not synced {options.mode}: W&B is {tracker.mode}")
        return 1
    say(f"{options.run}: {rows} rows to W&B run {tracker.run_id}, {tracker.mode}")
    return 0


def _unusable() -> str | None:
    """The reason why W&B cannot be used online; None if it can."""
    try:
        why = obstacle()
        return None if why is None else f"W&B at {base_url()} cannot be used ({why})"
    except Exception as error:  # W&B may raise anything for its environment and settings files
        return f"W&B cannot be used ({one_line(error)})"


@dataclass(frozen=True)
class _Recorded:
    """The content of a run's folder: config, `record` group, summary and rows."""

    config: dict[str, Any]
    options: Record
    summary: dict[str, Any]
    rows: list[dict[str, Any]]


def _recorded(folder: Path) -> _Recorded:
    """Read the whole folder before anything is sent.

    Raises:
        ConfigError, ValueError, OSError: the folder holds no run, a run in progress, or a damaged run.
    """
    if not folder.is_dir() or not (folder / METRICS).is_file():
        what = "must be the folder of a run" if folder.exists() else "no such folder; must be the folder of a run"
        raise ConfigError("RUN", folder, f"{what}, with a {METRICS}")
    if is_locked(folder):
        raise ConfigError("RUN", folder, f"a process writes there ({holder(folder)}): wait until it has ended")
    config, rows = stored_config(folder), read_rows(folder / METRICS)
    for row in rows:
        if not isinstance(row["step"], int):
            raise ConfigError("RUN", folder, f"{METRICS} there has a row whose step is {row['step']!r}")
    return _Recorded(config, _options(config), read_summary(folder), rows)


def _options(config: dict[str, Any]) -> Record:
    recorded = config.get("record")
    recorded = recorded if isinstance(recorded, dict) else {}
    return Record(**{spec.name: recorded[spec.name] for spec in fields(Record) if spec.name in recorded})


def sync(folder: Path, mode: str, recorded: _Recorded) -> tuple[Tracker, int]:
    """Send a folder's rows, figures and summary to W&B.

    Args:
        folder: the run's folder.
        mode: `online` or `offline`.
        recorded: the folder's content.

    Returns:
        The finished tracker, whose `mode` tells how W&B was used, and the number of rows.
    """
    options, summary = replace(recorded.options, wandb=mode), recorded.summary
    config = recorded.config | {name: summary[name] for name in ("code",) if name in summary}
    tracker = Tracker(folder, config, options, summary.get("wandb_id") or new_run_id(), finish_timeout=600.0)
    for row in recorded.rows:
        tracker.log(row)
    for figure in sorted((folder / "figures").glob("*.*")):
        # A link may lead to any file of this machine, or nowhere.
        if figure.is_file() and figure.resolve().is_relative_to(folder.resolve()):
            tracker.log_image(figure)
    tracker.finish(summary)
    return tracker, len(recorded.rows)


if __name__ == "__main__":
    sys.exit(main())
