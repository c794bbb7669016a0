"""Runs by their folders: `open_run` gives the config, the summary and the run at any step that has a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grokplane.app.errors import Refused
from grokplane.app.stored import is_state
from grokplane.app.trained import Trained, trained
from grokplane.app.typed import go_on
from grokplane.options import ConfigError
from grokplane.record import Checkpoints, NoCheckpoint, read_summary, status
from grokplane.record.checkpoints import __name__ as CHECKPOINTS_LOGGER
from grokplane.record.frames import stored_config
from grokplane.record.lock import holder
from grokplane.record.rows import METRICS

GO_ON = "go on with: {go_on}"
# What a folder must say of itself by status; a finished run is the only one that is asked.
NOT_FINISHED = {
    "running": "the run is still running ({holder}): wait for it; should it end early, " + GO_ON,
    "dead": "the run is dead (killed before its end): " + GO_ON,
    "interrupted": "the run was interrupted at step {steps:,}: " + GO_ON,
    "failed": "the run failed at step {steps:,}: " + GO_ON,
    "diverged": "the run diverged at step {steps:,}: its training loss is not finite, there is nothing to ask",
}


LISTED = 12  # steps that an error lists before it gives their range


@dataclass(frozen=True)
class Run:
    """A recorded run with any status; made by `open_run`.

    Attributes:
        folder: the run's folder.
        module: the class of the run's own module, which the caller trusts; None where it has none.
    """

    folder: Path
    module: str | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The run's config as nested dicts."""
        return stored_config(self.folder)

    @property
    def summary(self) -> dict[str, Any]:
        """The contents of `summary.json`; empty if there is none yet."""
        return read_summary(self.folder)

    @property
    def status(self) -> str:
        """The status of the run, see `grokplane.record.status`."""
        return status(self.folder)

    @property
    def steps(self) -> list[int]:
        """The steps that have a checkpoint, in rising order."""
        return Checkpoints(self.folder).steps()

    def at(self, step: int | None = None) -> Trained:
        """Return the run after `step` updates.

        Args:
            step: one of `steps`; None: the last one whose checkpoint is whole.

        Raises:
            ConfigError: there is no checkpoint of this step, or it is damaged; a stored config that makes no member.
        """
        return trained(self.folder, self.state(step), self.module)

    def state(self, step: int | None = None) -> dict[str, Any]:
        """Return the checkpoint of a step. Arguments and errors: see `at`."""
        checkpoints, steps = Checkpoints(self.folder), self.steps
        if not steps:
            raise ConfigError("RUN", self.folder, "has no checkpoint")
        if step is not None and step not in steps:
            raise ConfigError("step", step, f"{self.folder} has no checkpoint of this step; there are {_listed(steps)}")
        try:
            saved = checkpoints.latest() if step is None else checkpoints.read(step)
        except NoCheckpoint:
            raise ConfigError("RUN", self.folder, "has no checkpoint that is whole") from None
        if not is_state(saved.state, saved.step):
            raise Refused(f"{checkpoints.path(saved.step)}: holds no state of a run")
        return saved.state


def open_run(folder: str | Path, module: str | None = None) -> Run:
    """A recorded run: finished, interrupted, diverged, failed, dead or still running.

    Args:
        folder: the run's folder.
        module: for a run with `model=module` the class of its module, which is imported: "my_nets.Net".

    Raises:
        ConfigError: there is no run in the folder.

    Example:
        >>> run = open_run("outputs/add").at(1_000)
        >>> weights = run.network.state_dict()["input.embedding.weight"]
        >>> outputs = run.network(run.table.inputs[run.test])
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ConfigError("RUN", folder, "no such folder")
    if status(folder) == "empty":
        raise ConfigError("RUN", folder, f"must be the folder of a run, with a {METRICS}{_below(folder)}")
    return Run(folder, module)


def load_trained(folder: Path, module: str | None = None, step: int | None = None) -> Trained:
    """A run at a step; without one, a finished run at its last step.

    Args:
        folder: the run's folder.
        module: see `open_run`.
        step: one that has a checkpoint; None: the last step of a run that must be finished.

    Raises:
        Refused, ConfigError: there is no such run or checkpoint, or the run is not finished and no step is given.
        HydraException: a stored config that makes no member.
    """
    if step is not None:
        return open_run(folder, module).at(step)
    again = go_on(folder, module)
    summary = _finished(folder, again)
    return trained(folder, _last(folder, summary["steps"], again), module)


def _finished(folder: Path, again: str) -> dict[str, Any]:
    """The summary of a folder that holds a finished run."""
    if not folder.is_dir():
        raise Refused(f"RUN={folder}: no such folder")
    try:
        found, summary = status(folder), read_summary(folder)
    except ConfigError as error:
        if isinstance(error.__cause__, OSError):
            raise Refused(f"RUN={folder}: {error.allowed}") from None
        why = f"its summary.json is damaged ({error.__cause__})"
        raise Refused(f"RUN={folder}: {why}: delete it and {GO_ON.format(go_on=again)}") from None
    if found == "empty":
        raise Refused(f"RUN={folder}: must be the folder of a run, with a {METRICS}{_below(folder)}")
    if found != "finished":
        facts = {"go_on": again, "steps": summary.get("steps", 0)}
        facts |= {"holder": holder(folder)} if found == "running" else {}
        raise Refused(f"RUN={folder}: {NOT_FINISHED[found].format(**facts)}")
    return summary


def _below(folder: Path) -> str:
    runs = [child for child in sorted(folder.iterdir()) if (child / METRICS).is_file()]
    return f"; did you mean {' or '.join(map(str, runs[-3:]))}?" if runs else ""


def _last(folder: Path, steps: int, again: str) -> dict[str, Any]:
    """The checkpoint of a run's last step."""
    checkpoints = Checkpoints(folder)
    with _silent(CHECKPOINTS_LOGGER):  # the refusal reports a damaged checkpoint
        try:
            step, state = checkpoints.latest()
        except NoCheckpoint:
            step, state = -1, {}
    path = checkpoints.path(steps)
    if step != steps:
        what = "is damaged" if path.exists() else "is missing"
        raise Refused(f"{path}: the checkpoint of the last step {what}: {GO_ON.format(go_on=again)}")
    if not is_state(state, steps):
        raise Refused(f"{path}: holds no state of a run")
    return state


def _listed(steps: list[int]) -> str:
    if len(steps) <= LISTED:
        return ", ".join(map(str, steps))
    return f"{len(steps)} from {steps[0]} to {steps[-1]}"


@contextmanager
def _silent(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
