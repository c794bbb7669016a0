"""Recorded runs as pandas frames."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokplane.options import ConfigError
from grokplane.record.measured import with_measured
from grokplane.record.rows import METRICS, read_rows
from grokplane.record.summary import read_summary, status
from grokplane.strict_json import flatten

if TYPE_CHECKING:
    import pandas as pd

Paths = str | Path | Sequence[str | Path]
FETCHED = "wandb.json"  # in a folder of `fetch`'s cache: W&B's description of the run


def load(path: Paths) -> pd.DataFrame:
    """Read runs into one tidy frame, with a row for each (run, step).

    Args:
        path: a run's folder, a folder with runs at any depth below it (a multirun), a glob, or a list of these.

    Returns:
        Runs in natural order (see `find_runs`), with their rows as they were written, and the values that
        `grokplane.measure` added later (see `grokplane.record.measured`). Columns: `run` (the run's folder,
        relative to the argument), `step`, the metrics (null becomes NaN), and the config's dotted keys
        (`optimizer.lr`); a config list becomes a tuple. A torn last row is left out.

    Raises:
        FileNotFoundError: there is no run.
        ConfigError: a run's config or a row other than the last one is damaged; the message names file and line.
    """
    import pandas as pd

    records, metrics = [], set()
    for name, folder in find_runs(path).items():
        config = read_config(folder)
        for row in with_measured(read_rows(folder / METRICS, fractions=_is_fetched(folder)), folder):
            metrics |= row.keys()
            told = {key: config[key] for key in config if key not in row}
            records.append({"run": None} | row | told | {"run": name})  # wins over metrics and keys named `run`
    frame = pd.DataFrame(records) if records else pd.DataFrame(columns=["run", "step"])
    return frame.astype({name: float for name in metrics if bool(frame[name].isna().all())})


def summaries(path: Paths) -> pd.DataFrame:
    """One row per run: its `summary.json` and its config, with dotted keys (`grok.delay`, `optimizer.lr`).

    `status` is that of `grokplane.record.status`: `dead` for a run that was killed. For a run from W&B it is W&B's own
    state, such as `crashed`. Arguments and errors: see `load`.
    """
    import pandas as pd

    rows = []
    for name, folder in find_runs(path).items():
        summary = read_config(folder) | flatten(read_summary(folder))
        rows.append({"run": None} | summary | {"run": name, "status": _status(folder)})
    return pd.DataFrame(rows)


def overrides(path: Paths) -> list[str]:
    """The overrides of the runs, `key=value` each, in order; for several runs, the overrides that all of them share.

    Empty for a run from W&B, which does not store overrides. Arguments and errors: see `load`.
    """
    typed = [_yaml(folder / ".hydra" / "overrides.yaml") for folder in find_runs(path).values()]
    typed = [[str(one) for one in lines] if isinstance(lines, list) else [] for lines in typed]
    return [one for one in typed[0] if all(one in other for other in typed)]


def find_runs(path: Paths) -> dict[str, Path]:
    """The folders that hold a `metrics.jsonl`, by their names relative to the argument, in natural order.

    Numbers in a name are compared by value: `lr=1e-3,seed=2`, `lr=1e-3,seed=10`, `lr=0.01,seed=0`.

    Raises:
        FileNotFoundError: there is none.
    """
    asked = [path] if isinstance(path, str | Path) else list(path)
    found: dict[Path, None] = {}
    roots = []
    for place in (match for item in asked for match in _expand(item)):
        files = [place / METRICS] if (place / METRICS).is_file() else place.rglob(METRICS)
        folders = [file.parent for file in files if file.is_file()]  # reading a pipe would block
        found |= dict.fromkeys(folders)
        roots += [place.parent if folders == [place] else place] if folders else []
    if not found:
        raise FileNotFoundError(f"no run (a folder with {METRICS}) in {', '.join(map(str, asked))}")
    root = Path(os.path.commonpath(roots))
    names = {str(folder.relative_to(root)): folder for folder in found}
    return {name: names[name] for name in sorted(names, key=lambda name: (_natural(name), name))}


def stored_config(folder: Path) -> dict[str, Any]:
    """The run's config in `.hydra/config.yaml`, nested; empty if it has none.

    The file may come from other people, so nothing in it is executed. The only interpolation that is resolved is a
    whole value `${optimizer.lr}` that names another value; others stay text. In the config of a run from W&B all stay
    text: it was resolved before, or is another program's.
    """
    nested = _yaml(folder / ".hydra" / "config.yaml")
    if not isinstance(nested, dict):
        return {}
    return _referred(nested, {} if _is_fetched(folder) else flatten(nested))


def _is_fetched(folder: Path) -> bool:
    return (folder / FETCHED).exists()


def _status(folder: Path) -> str:
    """The status of a run; for a run from W&B, W&B's own state."""
    if _is_fetched(folder):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # a damaged file
            return str(json.loads((folder / FETCHED).read_text(encoding="utf-8"))["state"])
    return status(folder)


def _yaml(file: Path) -> Any:
    """The content of a YAML file; None if there is no file. The file may be damaged or come from other people.

    Raises:
        ConfigError: the file cannot be read.
    """
    import yaml

    if not file.exists():
        return None
    try:
        text = file.read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise ValueError("it refers to parts of itself")  # a few lines can expand to millions
        return yaml.safe_load(text)
    # Errors that PyYAML raises besides its own, for !!int x and for thousands of brackets.
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, TypeError, RecursionError, OSError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError("hydra.run.dir", file.parents[1], f"{file} is damaged ({why})") from error


def _referred(value: Any, values: dict[str, Any]) -> Any:
    """A nested config with references replaced by values, by dotted key; references are followed only once."""
    if isinstance(value, dict):
        return {str(key): _referred(part, values) for key, part in value.items()}
    if isinstance(value, list):
        return [_referred(part, values) for part in value]
    found = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
    return values.get(found[1], value) if found else value


def read_config(folder: Path) -> dict[str, Any]:
    """The run's config with dotted keys, and lists as tuples; empty if it has none."""
    flat = flatten(stored_config(folder))
    return {key: tuple(value) if isinstance(value, list) else value for key, value in flat.items()}


def _expand(item: str | Path) -> list[Path]:
    path = Path(os.path.expanduser(item))  # unchanged if there is no such user: a folder may be called ~name
    matches = [path] if path.exists() else [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    folders = [match.parent if match.name == METRICS else match for match in matches]
    return [folder.resolve() for folder in folders if folder.is_dir()]


# A number in a name. It has a sign only if no text stands before the sign, as in `lr=-1` but not in `2026-01-31`.
_NUMBER = re.compile(r"((?:(?<![\w.)\]])[-+])?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3}(?![0-9A-Za-z]))?)")


def _natural(name: str) -> list[list[tuple[int, Decimal, str]]]:
    """Sort key by which "2" precedes "10", "seed=2" precedes "seed=10" and "lr=1e-3" precedes "lr=0.01"."""
    return [
        [(1, Decimal(0), part) if number % 2 == 0 else (0, Decimal(part), "") for number, part in pieces if part]
        for pieces in (list(enumerate(_NUMBER.split(folder))) for folder in name.split(os.sep))
    ]
