"""`train.start_from`: the run and the step whose checkpoint a new run begins with."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from grokplane import config
from grokplane.app.stored import is_state
from grokplane.options import ConfigError, name_of, shown
from grokplane.record import Checkpoints, read_summary
from grokplane.record.rows import METRICS
from grokplane.schemas import path
from grokplane.train import Member, Stack
from grokplane.train.options import WITH_OPTIMIZER

KEY = "train.start_from"
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
    """The value of the key with an absolute folder, as it is stored."""
    return None if text is None else str(source(text))


def same(asked: object, stored: object) -> bool:
    """Whether a value names what a run has stored: the same step, or no step, of the same run."""
    if not isinstance(asked, str) or not isinstance(stored, str):
        return asked == stored
    ours, theirs = source(asked), source(stored)
    return ours.folder == theirs.folder and ours.step in (None, theirs.step)


def refuse_itself(one: DictConfig, folder: Path) -> None:
    """Raise ConfigError for a run that would start from its own folder, where it deletes or takes up what is there."""
    text = one.train.start_from
    if text is not None and os.path.realpath(source(text).folder) == os.path.realpath(folder):
        raise ConfigError(KEY, text, "is the folder of this run; choose another one with hydra.run.dir=FOLDER")


def pinned(one: DictConfig, folder: Path) -> DictConfig:
    """The config with an absolute folder and a step in `train.start_from`, so that a later call starts from the same.

    Args:
        one: the config of a run.
        folder: the folder of this run.

    Raises:
        ConfigError: there is no run to start from, or it has no checkpoint, or it is this run.
    """
    text = one.train.start_from
    if text is None:
        return one
    refuse_itself(one, folder)
    where = source(text)
    if where.step is None:
        where = Source(where.folder, _steps(where.folder, text)[-1])
    made = OmegaConf.merge(one, {"train": {"start_from": str(where)}})
    assert isinstance(made, DictConfig)
    return made


def begin(stack: Stack) -> None:
    """Give the members of a new stack the weights that they start from, if any.

    Raises:
        ConfigError: a run, a step or a checkpoint that is not there, or that does not fit.
    """
    if not stack.begun:
        stack.start(states(stack.members))


def states(members: Sequence[Member]) -> list[dict[str, Any] | None]:
    """The state that each member starts from; members with the same source share one.

    Raises:
        ConfigError: see `begin`.
    """
    wanted = {member.train.start_from: member for member in members if member.train.start_from is not None}
    found = {text: _state(text, member) for text, member in wanted.items()}
    return [None if one.train.start_from is None else found[one.train.start_from] for one in members]


def origin(one: DictConfig, folder: Path) -> dict[str, Any]:
    """The entry `start_from` of `summary.json`: folder, step and config hash of the run; empty for other runs.

    Args:
        one: a pinned config.
        folder: the new run's; an entry of its summary stays, because the other run may be gone by now.
    """
    if one.train.start_from is None:
        return {}
    with suppress(ConfigError):
        earlier = read_summary(folder).get("start_from")
        if isinstance(earlier, dict) and _told(earlier) == one.train.start_from:
            return {"start_from": earlier}
    where, digest = source(one.train.start_from), None
    with suppress(ConfigError):
        digest = read_summary(where.folder).get("config_hash")
    return {"start_from": {"folder": str(where.folder), "step": where.step, "config_hash": digest}}


def _told(entry: Mapping[str, Any]) -> str:
    return f"{entry.get('folder')}@{entry.get('step')}"


def _steps(folder: Path, text: str) -> list[int]:
    """The steps of a run that have a checkpoint, at least one.

    Raises:
        ConfigError: there is no run, or no checkpoint.
    """
    if not os.path.isdir(folder):
        raise ConfigError(KEY, text, f"no such folder {folder}; allowed: the folder of a run, or FOLDER@STEP")
    steps = Checkpoints(folder).steps()
    if steps:
        return steps
    if (folder / METRICS).exists():
        raise ConfigError(KEY, text, f"{folder} has no checkpoint yet; allowed: a run that has one")
    raise ConfigError(KEY, text, f"{folder} must be the folder of a run, with a {METRICS} and checkpoints")


def _state(text: str, member: Member) -> dict[str, Any]:
    """The checkpoint that a member starts from, with what the checkpoint alone can tell checked."""
    where = source(text)
    steps = _steps(where.folder, text)
    step = steps[-1] if where.step is None else where.step
    if step not in steps:
        raise ConfigError(KEY, text, f"that run has no checkpoint of step {step}; {_near(step, steps)}")
    file = Checkpoints(where.folder).path(step)
    try:
        told = file.stat()
        state = _read(where.folder.absolute(), step, told.st_mtime_ns, told.st_size)
    except ConfigError as error:
        others = [one for one in steps if one != step]
        raise ConfigError(KEY, text, f"{error.allowed}; {_near(step, others)}") from error
    except OSError as error:
        raise ConfigError(KEY, text, f"{file} cannot be read just now ({error}); try again") from error
    if not is_state(state, step):
        raise ConfigError(KEY, text, f"{file} holds no state of a run; allowed: another step or run")
    if member.train.start_with == WITH_OPTIMIZER:
        _check_memory(text, step, state, member)
    return state


@lru_cache(maxsize=1)
def _read(folder: Path, step: int, *_: int) -> dict[str, Any]:
    """A checkpoint, read once while its file does not change and no other one is asked for."""
    return Checkpoints(folder).read(step).state


def forget_sources() -> None:
    """Clear the cache of checkpoints, because the states are large."""
    _read.cache_clear()


def _near(step: int, steps: Sequence[int]) -> str:
    near = sorted(sorted(steps, key=lambda one: abs(one - step))[:NEAREST])
    return f"the nearest ones are {', '.join(map(str, near))}" if near else "it has no other one"


def _check_memory(text: str, step: int, state: Mapping[str, Any], member: Member) -> None:
    """Refuse a run with other rules than the member's, or an optimizer that differs in other than stackable keys."""
    allowed = "allowed with train.start_with=weights"
    if step == 0:
        raise ConfigError(KEY, text, f"at step 0 a run has no memory of its optimizer; a later step, or {allowed}")
    rules = state["config"].get("rules") or {}
    ours, theirs = [f"[{','.join(names)}]" for names in (member.rules, rules)]
    if ours != theirs:
        raise ConfigError("rules", ours, f"the run {text} has rules={theirs}, and its memory is theirs; {allowed}")
    optimizer = state["config"].get("optimizer") or {}
    _check_optimizer("optimizer", member.optimizer, optimizer, lambda there: f"the run {text} has {there}; {allowed}")


def _check_optimizer(key: str, ours: Any, theirs: Mapping[str, Any], refusal: Callable[[str], str]) -> None:
    """Refuse a stored optimizer that differs from ours, or in whose parts one differs, in other than stackable keys.

    Args:
        key: the key of the optimizer.
        ours: the choice.
        theirs: the stored config of the other one.
        refusal: the end of the message, from what the other run has.
    """
    target = str(theirs.get("_target_"))
    if target != path(type(ours)):
        raise ConfigError(key, name_of(ours), refusal(config.choice_names().get(target, target)))
    for spec in fields(ours):
        value, there = getattr(ours, spec.name), theirs.get(spec.name)
        if is_dataclass(value) and isinstance(there, Mapping):
            _check_optimizer(f"{key}.{spec.name}", value, there, refusal)
        elif not spec.metadata.get("stackable") and spec.name in theirs and value != there:
            raise ConfigError(f"{key}.{spec.name}", value, refusal(shown(there)))
