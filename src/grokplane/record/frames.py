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
FETCHED = "wandb.json"  # in a folder of `fetch`'s cache: what the run is to W&B


def load(path: Paths) -> pd.DataFrame:
    """One tidy frame: a row for each (run, step).

    Args:
        path: a run's folder, a folder with runs at any depth below it (a multirun), a glob, or a list of these.

    Returns:
        Runs in natural order (see `find_runs`), each one's rows as they were written, with what `grokplane.measure`
        measured later (see `grokplane.record.measured`). Columns `run` (the run's
        folder, relative to what was asked for), `step`, the metrics (null is NaN), and the
        config's keys, dotted (`optimizer.lr`); a config list is a tuple. A torn last row is left out.

    Raises:
        FileNotFoundError: if there is no run.
        ConfigError: a run's config, or a row that is not the last one, is damaged: its file and line are named.
    """
    import pandas as pd

    records, metrics = [], set()
    for name, folder in find_runs(path).items():
        config = read_config(folder)
        for row in with_measured(read_rows(folder / METRICS, fractions=_is_fetched(folder)), folder):
            metrics |= row.keys()
            told = {key: config[key] for key in config if key not in row}
            records.append({"run": None} | row | told | {"run": name})  # whatever the others are called
    frame = pd.DataFrame(records) if records else pd.DataFrame(columns=["run", "step"])
    return frame.astype({name: float for name in metrics if bool(frame[name].isna().all())})


def summaries(path: Paths) -> pd.DataFrame:
    """One row for each run: its `summary.json` and its config, with dotted keys (`grok.delay`, `optimizer.lr`).

    `status` is what `grokplane.record.status` says: `dead` for a run that was killed; that of a run
    from W&B is W&B's own word, such as `crashed`. Arguments, errors: see `load`.
    """
    import pandas as pd

    rows = []
    for name, folder in find_runs(path).items():
        summary = read_config(folder) | flatten(read_summary(folder))
        rows.append({"run": None} | summary | {"run": name, "status": _status(folder)})
    return pd.DataFrame(rows)


def overrides(path: Paths) -> list[str]:
    """What was typed for the runs, `key=value` each, in order; of several runs, what they have in common.

    Empty for a run from W&B, which does not keep it. Arguments, errors: see `load`.
    """
    typed = [_yaml(folder / ".hydra" / "overrides.yaml") for folder in find_runs(path).values()]
    typed = [[str(one) for one in lines] if isinstance(lines, list) else [] for lines in typed]
    return [one for one in typed[0] if all(one in other for other in typed)]


def find_runs(path: Paths) -> dict[str, Path]:
    """The folders that hold a `metrics.jsonl`, by their name relative to what was asked for, in natural order.

    Numbers anywhere in a name count as such: `lr=1e-3,seed=2`, `lr=1e-3,seed=10`, `lr=0.01,seed=0`.

    Raises:
        FileNotFoundError: if there is none.
    """
    asked = [path] if isinstance(path, str | Path) else list(path)
    found: dict[Path, None] = {}
    roots = []
    for place in (match for item in asked for match in _expand(item)):
        files = [place / METRICS] if (place / METRICS).is_file() else place.rglob(METRICS)
        folders = [file.parent for file in files if file.is_file()]  # a pipe would never end
        found |= dict.fromkeys(folders)
        roots += [place.parent if folders == [place] else place] if folders else []
    if not found:
        raise FileNotFoundError(f"no run (a folder with {METRICS}) in {', '.join(map(str, asked))}")
    root = Path(os.path.commonpath(roots))
    names = {str(folder.relative_to(root)): folder for folder in found}
    return {name: names[name] for name in sorted(names, key=lambda name: (_natural(name), name))}


def stored_config(folder: Path) -> dict[str, Any]:
    """The run's config in `.hydra/config.yaml`, nested; empty if it has none.

    The file may be somebody's, so nothing in it is carried out: of all interpolations, `${optimizer.lr}` alone, the
    whole of a value and the name of another one, becomes that value; the others stay text. Of a run from W&B all do:
    its config was resolved, or is another program's.
    """
    nested = _yaml(folder / ".hydra" / "config.yaml")
    if not isinstance(nested, dict):
        return {}
    return _referred(nested, {} if _is_fetched(folder) else flatten(nested))


def _is_fetched(folder: Path) -> bool:
    return (folder / FETCHED).exists()


def _status(folder: Path) -> str:
    """What became of a run; of one from W&B in W&B's word."""
    if _is_fetched(folder):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # a damaged file
            return str(json.loads((folder / FETCHED).read_text(encoding="utf-8"))["state"])
    return status(folder)


def _yaml(file: Path) -> Any:
    """What a YAML file holds; None where there is none. It may be somebody's, or damaged.

    Raises:
        ConfigError: it cannot be read.
    """
    import yaml

    if not file.exists():
        return None
    try:
        text = file.read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise ValueError("it refers to parts of itself")  # ours never does, and a few lines can mean millions
        return yaml.safe_load(text)
    # What PyYAML raises beside its own errors, of !!int x and of thousands of brackets.
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, TypeError, RecursionError, OSError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError("hydra.run.dir", file.parents[1], f"{file} is damaged ({why})") from error


def _referred(value: Any, values: dict[str, Any]) -> Any:
    """A nested config with the values, by dotted key, of the keys that it refers to; one step, so that it ends."""
    if isinstance(value, dict):
        return {str(key): _referred(part, values) for key, part in value.items()}
    if isinstance(value, list):
        return [_referred(part, values) for part in value]
    found = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
    return values.get(found[1], value) if found else value


def read_config(folder: Path) -> dict[str, Any]:
    """The run's config with dotted keys, lists as tuples; empty if it has none."""
    flat = flatten(stored_config(folder))
    return {key: tuple(value) if isinstance(value, list) else value for key, value in flat.items()}


def _expand(item: str | Path) -> list[Path]:
    path = Path(os.path.expanduser(item))  # where there is no such user, a folder may be called ~name
    matches = [path] if path.exists() else [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    folders = [match.parent if match.name == METRICS else match for match in matches]
    return [folder.resolve() for folder in folders if folder.is_dir()]


# A number inside a name: its sign counts where nothing is written before it, as in `lr=-1` but not in `2026-01-31`.
_NUMBER = re.compile(r"((?:(?<![\w.)\]])[-+])?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3}(?![0-9A-Za-z]))?)")


def _natural(name: str) -> list[list[tuple[int, Decimal, str]]]:
    """Sort key by which "2" comes before "10", "seed=2" before "seed=10" and "lr=1e-3" before "lr=0.01"."""
    return [
        [(1, Decimal(0), part) if number % 2 == 0 else (0, Decimal(part), "") for number, part in pieces if part]
        for pieces in (list(enumerate(_NUMBER.split(folder))) for folder in name.split(os.sep))
    ]
