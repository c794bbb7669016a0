"""Runs from W&B as pandas frames, kept on disk in the layout of a run's folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokplane.files import atomic_file, write_text
from grokplane.record.load import load
from grokplane.record.rows import METRICS
from grokplane.strict_json import strict, to_json

if TYPE_CHECKING:
    import pandas as pd

CACHE = Path("outputs/wandb_cache")
ABOUT = "wandb.json"
GOING_ON = ("running", "pending", "preempting")


def fetch(run: str | Sequence[str], *, cache: str | Path = CACHE, refresh: bool = False) -> pd.DataFrame:
    """Runs that were logged to W&B, as `grokplane.record.load` gives local ones.

    The history comes whole from `scan_history` (`history` samples 500 rows in silence). What was fetched lies in
    `CACHE/ENTITY/PROJECT/ID` as a run's folder, and the next call reads it there without the network, unless the run
    was still going on. Only numbers are kept; columns keep their names. `step` is the logged one, where there is none
    W&B's own; rows of one step are merged.

    Args:
        run: `ENTITY/PROJECT/ID` or the run's address in a browser; or several of them.
        cache: the folder.
        refresh: ask W&B even where the cache has the run.

    Raises:
        ValueError: for a path that names no run.
        wandb.errors.Error: what W&B raises if it cannot be reached, knows no such run, or nobody is logged in.
    """
    paths = [run] if isinstance(run, str) else list(run)
    return load([_cached(_parts(path), Path(cache), refresh) for path in paths])


def _parts(path: str) -> tuple[str, str, str]:
    """Entity, project and id of a run."""
    found = re.fullmatch(r"(?:https?://[^/]+/|/)?([\w.-]+)/([\w.-]+)/(?:runs/)?([\w-]+)/?(?:[?#].*)?", path.strip())
    if found is None or set(found.groups()) & {".", ".."}:
        raise ValueError(f"{path!r} names no W&B run: it has the form ENTITY/PROJECT/ID")
    return found[1], found[2], found[3]


def _cached(parts: tuple[str, str, str], cache: Path, refresh: bool) -> Path:
    """The run's folder in the cache, filled if it is not there yet."""
    folder = cache.joinpath(*parts)
    if refresh or not (folder / METRICS).exists() or _state(folder) in GOING_ON:
        _store("/".join(parts), folder)
    return folder


def _state(folder: Path) -> str | None:
    try:
        return json.loads((folder / ABOUT).read_text())["state"]
    except (FileNotFoundError, ValueError):
        return None


def _store(path: str, folder: Path) -> None:
    """Ask W&B for a run and write its folder, the metrics last: they tell that all is there."""
    import wandb

    run = wandb.Api().run(path)
    state = run.state  # before the rows: it may end while they come
    config = {name: value for name, value in run.config.items() if not name.startswith("_")}
    rows = merged(run.scan_history())
    (folder / ".hydra").mkdir(parents=True, exist_ok=True)
    write_text(folder / ".hydra" / "config.yaml", _yaml(config))
    write_text(folder / ABOUT, to_json({"path": path, "name": run.name, "state": state}, indent=1) + "\n")
    with atomic_file(folder / METRICS) as file:
        file.writelines(to_json(row).encode() + b"\n" for row in rows)


def _yaml(config: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(strict(config), sort_keys=False)


def merged(history: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """W&B's history as rows: one a step, by ascending step, numbers only; what is not finite (text, to W&B) is null."""
    rows: dict[int, dict[str, Any]] = {}
    for line in history:
        values = {name: _number(value) for name, value in line.items() if name[0] != "_" and _is_number(value)}
        step = int(line.get("step", line["_step"]))
        if values.keys() - {"step"}:
            rows[step] = rows.get(step, {}) | {"step": step} | values
    return [rows[step] for step in sorted(rows)]


_NOT_FINITE = ("NaN", "Infinity", "-Infinity")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or value in _NOT_FINITE


def _number(value: Any) -> int | float | None:
    return None if value in _NOT_FINITE else value
