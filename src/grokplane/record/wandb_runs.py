"""Runs from W&B as pandas frames, cached on disk in the layout of a run's folder."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from grokplane.files import atomic_file, write_text
from grokplane.options import ConfigError
from grokplane.record.frames import FETCHED, load
from grokplane.record.rows import METRICS
from grokplane.record.wandb_mode import base_url, site
from grokplane.strict_json import strict, to_json

if TYPE_CHECKING:
    import pandas as pd

CACHE = Path("outputs/wandb_cache")
# States in which a run may continue: crashed and pre-empted runs have only stopped sending.
OVER = ("finished", "failed", "killed")
_NAME = r"[^/\\#?%:\x00-\x1f]+"  # W&B forbids only these: a project may be called "my project"
_PATH = re.compile(rf"/?({_NAME})/({_NAME})/(?:runs/({_NAME})(?:/.*)?|({_NAME})/?)")
_SERVER = re.compile(r"https?://([^/]+)", re.IGNORECASE)
_log = logging.getLogger(__name__)


def fetch(run: str | Sequence[str], *, cache: str | Path = CACHE, refresh: bool = False) -> pd.DataFrame:
    """Read runs that were logged to W&B, in the format of `grokplane.record.load`.

    The whole history is read with `scan_history`, as `history` silently samples 500 rows. Fetched runs are cached in
    `CACHE/ENTITY/PROJECT/ID` as run folders. The next call reads the cache without the network, unless the run was not
    over. Only numbers are kept. Columns keep their names, and text in the config stays text. `step` is the logged step,
    or W&B's own if the logged one is not a number; rows with equal steps are merged.

    Args:
        run: `ENTITY/PROJECT/ID`, or the run's web address; or several of them.
        cache: the cache's folder.
        refresh: query W&B even if the run is cached.

    Raises:
        ValueError: a path that names no run, or an address at another server than the one configured for W&B.
        ConfigError: the cache cannot be written.
        wandb.errors.Error: an error of W&B: no connection, no such run, or no login.
    """
    paths = [run] if isinstance(run, str) else list(run)
    return load([_cached(_parts(path), Path(cache), refresh) for path in paths])


class _Run(NamedTuple):
    """Location of a run: its server, None for the one configured for W&B, and its path there."""

    host: str | None
    entity: str
    project: str
    id: str


def _parts(path: str) -> _Run:
    address = re.split("[?#]", path.strip())[0]
    server = _SERVER.match(address)
    found = _PATH.fullmatch(unquote(address[server.end() :]) if server else address)
    if found is None or {found[1], found[2], found[3] or found[4]} & {".", ".."}:
        raise ValueError(f"{path!r} names no W&B run: it has the form ENTITY/PROJECT/ID")
    return _Run(server and server[1], found[1], found[2], found[3] or found[4])


def _cached(run: _Run, cache: Path, refresh: bool) -> Path:
    """The run's folder in the cache, filled if it is missing."""
    folder = cache.joinpath(run.entity, run.project, run.id)
    if refresh or not (folder / METRICS).exists() or not _is_over(folder, run.host):
        _store(run, folder, cache)
    return folder


def _is_over(folder: Path, host: str | None) -> bool:
    """Whether the cache has the complete run of this server; None: of the environment's server, or of any."""
    try:
        about = json.loads((folder / FETCHED).read_text(encoding="utf-8"))
        server = host or os.environ.get("WANDB_BASE_URL")
        return about["state"] in OVER and (server is None or site(server) == about.get("host", "wandb.ai"))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False


def _store(run: _Run, folder: Path, cache: Path) -> None:
    """Query W&B for a run and write its folder. The description is written last and marks the folder as complete."""
    import wandb

    server = site(base_url())
    path = f"{run.entity}/{run.project}/{run.id}"
    if run.host is not None and site(run.host) != server:
        remedy = f"set WANDB_BASE_URL=https://{run.host} and log in there"
        raise ValueError(f"{run.host}/{path} is not at {server}, the server that W&B is configured for: {remedy}")
    found = wandb.Api().run(path)
    state = found.state  # before the rows: the run may end while they arrive
    config, rows = _yaml(found.config), merged(found.scan_history())
    about = {"path": path, "host": server, "name": found.name, "state": state}
    try:
        (folder / ".hydra").mkdir(parents=True, exist_ok=True)
        write_text(folder / ".hydra" / "config.yaml", config)
        with atomic_file(folder / METRICS) as file:
            file.writelines(to_json(row).encode() + b"\n" for row in rows)
        write_text(folder / FETCHED, to_json(about, indent=1) + "\n")
    except OSError as error:
        allowed = f"cannot be written ({error}): choose a folder that can"
        raise ConfigError("cache", cache, allowed) from error


def _yaml(config: Any) -> str:
    """A config as YAML; values that YAML cannot represent are left out, with a warning."""
    import yaml

    kept, lost = [], []
    for name, value in config.items() if isinstance(config, Mapping) else ():
        if str(name).startswith("_"):
            continue
        try:
            text = yaml.safe_dump({str(name): strict(value)}, sort_keys=False)
            yaml.safe_load(text)
            kept.append(text)
        except (yaml.YAMLError, RecursionError, ValueError, TypeError):
            lost.append(str(name))
    if lost:
        _log.warning("keys of the run's config that YAML cannot represent are left out: %s", ", ".join(lost))
    return "".join(kept) or "{}\n"


def merged(history: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """W&B's history as rows: one per step, in ascending order, numbers only; non-finite values (text in W&B) are null.

    Rows without a step are left out, with a warning.
    """
    rows: dict[float, dict[str, Any]] = {}
    lost = 0
    for line in history:
        step = _step(line)
        if step is None:
            lost += 1
            continue
        values = {name: _number(value) for name, value in line.items() if name[:1] != "_" and _is_number(value)}
        if values.keys() - {"step"}:
            rows[step] = rows.get(step, {}) | values | {"step": step}
    if lost:
        _log.warning("%d rows of the run's history have no step and are left out", lost)
    return [{"step": step} | rows[step] for step in sorted(rows)]


def _step(line: Mapping[str, Any]) -> float | None:
    """The logged step of a row, else W&B's own; an int if it is whole."""
    for value in (line.get("step"), line.get("_step")):
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, float) and math.isfinite(value):
            return int(value) if value.is_integer() else value
    return None


_NOT_FINITE = ("NaN", "Infinity", "-Infinity")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and value in _NOT_FINITE)


def _number(value: Any) -> int | float | None:
    return None if value in _NOT_FINITE else value
