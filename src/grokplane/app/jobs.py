"""The jobs of a call: which overrides go into which folder, and whether there is anything to do there."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from grokplane import config
from grokplane.app.errors import REFUSALS, Refused, one_line
from grokplane.app.resume import NothingLeft, nothing_left, resumed_config
from grokplane.app.swept import MOST_JOBS, values_of
from grokplane.options import ConfigError
from grokplane.record import check_folder
from grokplane.record.folder import check_no_sweep
from grokplane.train import Stack, try_metrics

LONGEST_NAME = 255  # bytes, on every usual file system


class Checked(NamedTuple):
    """What a look at a job found.

    Attributes:
        over: why there is nothing left to do; None where there is.
        unread: overrides that mean nothing for the run, and why.
    """

    over: NothingLeft | None
    unread: Mapping[str, str]


def refuse_unread(found: Sequence[Checked]) -> None:
    """Raise Refused for an override that means nothing for any job of a call."""
    for line, why in found[0].unread.items():
        if all(line in one.unread for one in found):
            raise Refused(f"{line}: would not be read, as {why}; leave it out")


@dataclass(frozen=True)
class Job:
    """One run that a call asks for.

    Attributes:
        overrides: what the user typed, one value for each key.
        asked: what that composes to, Hydra's node included.
        folder: where the run lands.
        named: whether the user named that folder.
    """

    overrides: Sequence[str]
    asked: DictConfig
    folder: Path
    named: bool

    def check(self, config_name: str) -> Checked:
        """Whether there is anything to do; reads only.

        Raises:
            ConfigError: what cannot be trained, or not in this folder.
        """
        options = self.asked.train
        if options.resume and options.overwrite:
            config.member(self.asked)  # refuses the pair; what follows merges it away
        _check_place(self.folder)
        check_folder(self.folder, overwrite=options.overwrite, resume=options.resume)
        if not options.resume:
            return Checked(None, self._unread(self.asked))
        merged = resumed_config(self.folder, self.asked, self.overrides, config_name)
        unread = self._unread(merged)
        if not self.named:
            raise ConfigError("train.resume", True, "needs hydra.run.dir=FOLDER, or under -m hydra.sweep.dir=FOLDER")
        return Checked(nothing_left(self.folder, merged), unread)

    def _unread(self, one: DictConfig) -> dict[str, str]:
        """What was typed and means nothing for the run: the override, and why."""
        unread = check_trainable(one, trains_elsewhere(self.asked.hydra.launcher))
        typed = {str(one.input_line): one.key_or_group.replace("/", ".") for one in config.parse(self.overrides)}
        return {
            line: why
            for line, key in typed.items()
            for name, why in unread.items()
            if key == name or key.startswith(f"{name}.")
        }


def single(overrides: Sequence[str], config_name: str) -> Job:
    """The job of a plain call."""
    asked = config.compose(overrides, config_name, with_hydra=True)
    return Job(overrides, asked, Path(asked.hydra.run.dir), _named(overrides, "hydra.run.dir"))


def swept(overrides: Sequence[str], config_name: str) -> list[Job]:
    """The jobs of a multirun, as Hydra's basic sweeper makes them.

    Raises:
        Refused: the line on the first job that cannot be composed.
        ConfigError: two jobs of one folder.
    """
    jobs: list[Job] = []
    seen = set()
    for number, typed in enumerate(_product(overrides)):
        with refused_for(typed, config_name):
            asked = config.compose([*typed, f"hydra.job.num={number}", f"hydra.job.id={number}"], config_name, True)
            check_launcher(asked)
            sweep = asked.hydra.sweep
            named = _named(typed, "hydra.sweep.dir")
            if number == 0 and not asked.train.resume:
                check_no_sweep(Path(sweep.dir), "hydra.sweep.dir")
            jobs.append(Job(typed, asked, Path(sweep.dir, sweep.subdir), named))
        if sweep.subdir in seen:
            raise ConfigError("hydra.sweep.subdir", sweep.subdir, "must give every job its own folder")
        seen.add(sweep.subdir)
    return jobs


def check_launcher(asked: DictConfig) -> None:
    """Raise ConfigError for the first key of a launcher of ours that is out of bounds; reads Hydra's node."""
    config.validate(asked.hydra.launcher, "hydra.launcher.")


class refused_for:  # noqa: N801 (used like contextlib's)
    """A block in which whatever is refused is told in terms of one job's overrides."""

    def __init__(self, overrides: Sequence[str], config_name: str) -> None:
        self._overrides, self._config_name = overrides, config_name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, REFUSALS):
            raise Refused(one_line(error, self._overrides, known_keys(self._config_name))) from error


@cache
def known_keys(config_name: str) -> list[str]:
    """Every key of the config as it is without overrides."""
    try:
        return [key for key in config.flat(config.compose([], config_name)) if not key.endswith("_target_")]
    except REFUSALS:  # a configs/local/default.yaml may be what is wrong
        return []


def _named(overrides: Sequence[str], key: str) -> bool:
    return any(override.key_or_group == key for override in config.parse(overrides))


def _product(overrides: Sequence[str]) -> Iterator[list[str]]:
    axes: list[list[str]] = []
    for override in config.parse(overrides):
        line, key = str(override.input_line), override.get_key_element()
        if not override.is_sweep_override():
            axes.append([line])
        else:
            axes.append([f"{key}={value}" for value in values_of(override)])
        if math.prod(map(len, axes)) > MOST_JOBS:
            raise Refused(f"{line}: makes more than {MOST_JOBS:,} runs; allowed: fewer values")
    return (list(job) for job in itertools.product(*axes))


def trains_elsewhere(launcher: DictConfig) -> bool:
    """Whether Hydra's launcher sends jobs to machines whose devices this one need not have."""
    remote = ("submitit_launcher.SlurmLauncher", "ray_launcher.")
    return launcher.get("executor", "local") != "local" or any(name in launcher.get("_target_", "") for name in remote)


def check_trainable(one: DictConfig, elsewhere: bool = False) -> dict[str, str]:
    """Build everything that training needs, so that what cannot be trained is refused before a folder exists.

    Args:
        one: a run's config.
        elsewhere: build it on the CPU, as its device is another machine's.

    Returns:
        Keys that mean nothing for the run, and why.
    """
    member = config.member(one)
    try:
        stack = Stack([replace(member, train=replace(member.train, device="cpu")) if elsewhere else member])
        try_metrics(stack)
        return stack.unread
    # torch's allocator says so in its message alone, and of a size that is no int64 it says TypeError.
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:
        line = str(error).partition("\n")[0]
        if isinstance(error, RuntimeError | TypeError) and not re.search("memory|[oO]verflow", line):
            raise
        kind = type(member.model).__name__
        raise ConfigError("model", kind, f"cannot be allocated ({line}); allowed: smaller sizes") from error


def _check_place(folder: Path) -> None:
    """Raise ConfigError unless the folder can be made and written."""
    if folder == Path():
        raise ConfigError("hydra.run.dir", "", "must name a folder")
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in folder.parts):
        raise ConfigError("hydra.run.dir", folder, f"cannot be made: names have at most {LONGEST_NAME} bytes")
    there = next(place for place in [folder.absolute(), *folder.absolute().parents] if os.path.exists(place))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError("hydra.run.dir", folder, f"must be in a folder that can be written, and {there} is not one")
