"""The jobs of a call: their overrides, their folders, and the check before training."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from grokplane import config
from grokplane.app.errors import REFUSALS, Refused, one_line
from grokplane.app.resume import NothingLeft, nothing_left, resumed_config, saved
from grokplane.app.sources import refuse_itself
from grokplane.app.starting import begin
from grokplane.app.untyped import known_keys
from grokplane.hydra_node import hydra_is
from grokplane.options import ConfigError
from grokplane.record import check_folder
from grokplane.record.folder import begun, nearest
from grokplane.train import Stack, prepare_process, try_metrics

MULTIRUN = "multirun.yaml"  # Hydra's, in the folder of a multirun that was begun
LONGEST_NAME = 255  # bytes, on every usual file system


class Checked(NamedTuple):
    """Result of the check of a job.

    Attributes:
        over: reason why nothing is left to do; None if the job trains.
        unread: config keys that mean nothing for the run, and why.
        missing: whether it is to go on and nothing was begun in its folder.
    """

    over: NothingLeft | None
    unread: Mapping[str, str]
    missing: bool = False


def refuse_nothing_begun(found: Sequence[Checked], folder: Path) -> None:
    """Raise ConfigError if `train.resume` finds no run at all: the folder is probably mistyped.

    Jobs of a multirun that never began do start, and so do runs of a W&B agent, which names new folders itself.

    Args:
        found: of each job.
        folder: the run's, or the multirun's.
    """
    if not all(one.missing for one in found) or (folder / MULTIRUN).exists() or os.environ.get("WANDB_SWEEP_ID"):
        return
    what = "holds no run to go on with" if folder.is_dir() else "is no folder, there is no run to go on with"
    near = " or ".join(map(str, nearest(folder)))
    meant = f"did you mean {near}? " if near else ""
    raise ConfigError("train.resume", True, f"{folder} {what}; {meant}to begin a run there, leave train.resume out")


@dataclass(frozen=True)
class Job:
    """One run of a call.

    Attributes:
        overrides: what the user typed, one value for each key.
        made: what that composes to, Hydra's node included.
        asked: the same without it.
        folder: where the run lands.
    """

    overrides: Sequence[str]
    made: DictConfig
    asked: DictConfig
    folder: Path

    def check(self, config_name: str) -> Checked:
        """Check the job without writing anything.

        Raises:
            ConfigError: the run cannot be trained, or not in this folder.
        """
        with hydra_is(self.made):
            return self._check(config_name)

    def _check(self, config_name: str) -> Checked:
        options = self.asked.train
        if options.resume and options.overwrite:
            config.member(self.asked)  # refuses the pair; what follows merges it away
        _check_place(self.folder)
        check_folder(self.folder, overwrite=options.overwrite, resume=options.resume)
        refuse_itself(self.asked, self.folder)
        if not options.resume:
            return Checked(None, self._trainable(self.asked))
        merged = resumed_config(self.folder, self.asked, self.overrides, config_name)
        unread = self._trainable(merged, begins=saved(self.folder.absolute()) is None)
        if not _named(self.overrides):
            raise ConfigError("train.resume", True, "needs hydra.run.dir=FOLDER, or under -m hydra.sweep.dir=FOLDER")
        return Checked(nothing_left(self.folder, merged), unread, not begun(self.folder))

    def _trainable(self, one: DictConfig, begins: bool = True) -> dict[str, str]:
        return check_trainable(one, trains_elsewhere(self.made.hydra.launcher), begins)


def check_launcher(asked: DictConfig) -> None:
    """Raise ConfigError for the first key of the launcher that is out of bounds."""
    config.validate(asked.hydra.launcher, "hydra.launcher.")


class refused_for:  # noqa: N801 (used like contextlib's)
    """Context manager that reports refusals in terms of the overrides of a job."""

    def __init__(self, overrides: Sequence[str], config_name: str) -> None:
        self._overrides, self._config_name = overrides, config_name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, REFUSALS):
            raise Refused(one_line(error, self._overrides, known_keys(self._config_name, self._overrides))) from error


def _named(overrides: Sequence[str]) -> bool:
    """Return whether the call names the folder; otherwise the folder is made from the time."""
    named = {override.key_or_group for override in config.parse(overrides)}
    return bool(named & {"hydra.run.dir", "hydra.sweep.dir"})


def trains_elsewhere(launcher: DictConfig) -> bool:
    """Return whether Hydra's launcher sends jobs to other machines, which may have other devices."""
    remote = ("submitit_launcher.SlurmLauncher", "ray_launcher.")
    return launcher.get("executor", "local") != "local" or any(name in launcher.get("_target_", "") for name in remote)


def check_trainable(one: DictConfig, elsewhere: bool = False, begins: bool = True) -> dict[str, str]:
    """Build everything that training needs, so that errors are reported before a folder exists.

    Args:
        one: a run's config.
        elsewhere: build it on the CPU, as its device is another machine's.
        begins: whether it has no checkpoint, and so needs the run of `train.start_from` or
            `train.branch_from`.

    Returns:
        Keys that mean nothing for the run, and why.
    """
    member = config.member(one)
    try:
        prepare_process([member])
        stack = Stack([replace(member, train=replace(member.train, device="cpu")) if elsewhere else member])
        if begins:
            begin(stack)
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
    """Raise ConfigError if the folder cannot be created or written."""
    if folder == Path():
        raise ConfigError("hydra.run.dir", "", "must name a folder")
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in folder.parts):
        raise ConfigError("hydra.run.dir", folder, f"cannot be made: names have at most {LONGEST_NAME} bytes")
    there = next(place for place in [folder.absolute(), *folder.absolute().parents] if os.path.exists(place))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError("hydra.run.dir", folder, f"must be in a folder that can be written, and {there} is not one")
