"""The runs that `train.start_from` and `train.branch_from` name as RUN or RUN@STEP."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from grokplane.app.stored import is_state
from grokplane.options import ConfigError
from grokplane.record import Checkpoints, read_summary
from grokplane.record.rows import METRICS

START, BRANCH = "train.start_from", "train.branch_from"
# What `summary.json` calls the run that a key names.
ENTRIES = {START: "start_from", BRANCH: "parent"}
NEAREST = 4  # steps that an error lists


class Source(NamedTuple):
    """A run and a step of it; None: its last checkpoint."""

    folder: Path
    step: int | None

    def __str__(self) -> str:
        return str(self.folder) if self.step is None else f"{self.folder}@{self.step}"


def source(text: str) -> Source:
    """The source that `RUN` or `RUN@STEP` names. Relative folders are resolved against the working directory."""
    found = re.fullmatch(r"(?P<folder>.*)@(?P<step>\d+)", text, re.DOTALL)
    folder = Path(found["folder"] if found else text).absolute()
    return Source(folder, int(found["step"]) if found else None)


def absolute(text: str | None) -> str | None:
    """The value of a key with an absolute folder, as it is stored."""
    return None if text is None else str(source(text))


def with_sources(one: DictConfig, texts: Mapping[str, str | None]) -> DictConfig:
    """The config with these values of the keys."""
    made = OmegaConf.merge(one, {"train": {key.removeprefix("train."): text for key, text in texts.items()}})
    assert isinstance(made, DictConfig)
    return made


def sources(one: DictConfig | Mapping[str, Any]) -> dict[str, str | None]:
    """The value of each key in a config."""
    return {key: one["train"].get(key.removeprefix("train.")) for key in ENTRIES}


def same(asked: object, stored: object) -> bool:
    """Whether a value names what a run has stored: the same step, or no step, of the same run."""
    if not isinstance(asked, str) or not isinstance(stored, str):
        return asked == stored
    ours, theirs = source(asked), source(stored)
    return ours.folder == theirs.folder and ours.step in (None, theirs.step)


def refuse_itself(one: DictConfig, folder: Path) -> None:
    """Raise ConfigError for a run that would start from its own folder, where it deletes or takes up what is there."""
    for key, text in sources(one).items():
        if text is not None and os.path.realpath(source(text).folder) == os.path.realpath(folder):
            raise ConfigError(key, text, "is the folder of this run; choose another one with hydra.run.dir=FOLDER")


def pinned(one: DictConfig, folder: Path) -> DictConfig:
    """The config with absolute folders and steps in the keys, so that a later call starts from the same.

    Args:
        one: the config of a run.
        folder: the folder of this run.

    Raises:
        ConfigError: there is no run to start from, or it has no checkpoint, or it is this run.
    """
    refuse_itself(one, folder)
    texts = {key: text for key, text in sources(one).items() if text is not None}
    return with_sources(one, {key: str(at_step(key, text)) for key, text in texts.items()}) if texts else one


def at_step(key: str, text: str) -> Source:
    """The source with a step: where none is named, that of the last checkpoint.

    Raises:
        ConfigError: there is no run, or no checkpoint.
    """
    where = source(text)
    return where if where.step is not None else Source(where.folder, steps(key, text)[-1])


def origin(one: DictConfig, folder: Path) -> dict[str, Any]:
    """The entry of `summary.json` about the other run: folder, step and config hash; empty for runs without one.

    Args:
        one: a pinned config.
        folder: the new run's; an entry of its summary stays, because the other run may be gone by now.
    """
    key, text = next(((key, text) for key, text in sources(one).items() if text is not None), (START, None))
    if text is None:
        return {}
    with suppress(ConfigError):
        earlier = read_summary(folder).get(ENTRIES[key])
        if isinstance(earlier, dict) and f"{earlier.get('folder')}@{earlier.get('step')}" == text:
            return {ENTRIES[key]: earlier}
    where, digest = source(text), None
    with suppress(ConfigError):
        digest = read_summary(where.folder).get("config_hash")
    return {ENTRIES[key]: {"folder": str(where.folder), "step": where.step, "config_hash": digest}}


def steps(key: str, text: str) -> list[int]:
    """The steps of a run that have a checkpoint, at least one.

    Raises:
        ConfigError: there is no run, or no checkpoint.
    """
    folder = source(text).folder
    if not os.path.isdir(folder):
        raise ConfigError(key, text, f"no such folder {folder}; allowed: the folder of a run, or FOLDER@STEP")
    found = Checkpoints(folder).steps()
    if found:
        return found
    if (folder / METRICS).exists():
        raise ConfigError(key, text, f"{folder} has no checkpoint yet; allowed: a run that has one")
    raise ConfigError(key, text, f"{folder} must be the folder of a run, with a {METRICS} and checkpoints")


def checkpoint(key: str, text: str) -> dict[str, Any]:
    """The checkpoint that a key names, with what the checkpoint alone can tell checked.

    Raises:
        ConfigError: a run, a step or a checkpoint that is not there, or is damaged.
    """
    there, (folder, step) = steps(key, text), at_step(key, text)
    assert step is not None
    if step not in there:
        raise ConfigError(key, text, f"that run has no checkpoint of step {step}; {_near(step, there)}")
    file = Checkpoints(folder).path(step)
    try:
        told = file.stat()
        state = _read(folder.absolute(), step, told.st_mtime_ns, told.st_size)
    except ConfigError as error:
        others = [one for one in there if one != step]
        raise ConfigError(key, text, f"{error.allowed}; {_near(step, others)}") from error
    except OSError as error:
        raise ConfigError(key, text, f"{file} cannot be read just now ({error}); try again") from error
    if not is_state(state, step):
        raise ConfigError(key, text, f"{file} holds no state of a run; allowed: another step or run")
    return state


@lru_cache(maxsize=1)
def _read(folder: Path, step: int, *_: int) -> dict[str, Any]:
    """A checkpoint, read once while its file does not change and no other one is asked for."""
    return Checkpoints(folder).read(step).state


def forget_sources() -> None:
    """Clear the cache of checkpoints, because the states are large."""
    _read.cache_clear()


def _near(step: int, there: Sequence[int]) -> str:
    near = sorted(sorted(there, key=lambda one: abs(one - step))[:NEAREST])
    return f"the nearest ones are {', '.join(map(str, near))}" if near else "it has no other one"
