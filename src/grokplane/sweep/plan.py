"""The remaining work in the cells' folders, grouped into stacks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from grokplane import config, plugins
from grokplane.app.errors import REFUSALS, Refused
from grokplane.app.resume import check_length, disagreements, few, forget_saved, nothing_left, run_config, saved
from grokplane.app.session import plain
from grokplane.app.sources import BRANCH, absolute, at_step, sources, with_sources
from grokplane.app.stored import composed, module_of
from grokplane.options import ConfigError
from grokplane.record import check_folder
from grokplane.record.rows import METRICS
from grokplane.resources import human
from grokplane.sweep.cells import Cell
from grokplane.sweep.cost import Memory, memory
from grokplane.sweep.groups import grouped, signature
from grokplane.sweep.stack_job import StackJob, failure_line
from grokplane.train import Member
from grokplane.train.device import find_device
from grokplane.train.memory import free_bytes

log = logging.getLogger(__name__)

REMEDY = "name another folder with hydra.sweep.dir=FOLDER, or delete these"


class Remaining(NamedTuple):
    """A run that has remaining work.

    Attributes:
        config: its config, without Hydra's node.
        folder: its folder.
        step: step of its last checkpoint, -1 for none.
        notes: see `StackJob`.
    """

    config: DictConfig
    folder: Path
    step: int
    notes: Mapping[str, str] = {}


@dataclass(frozen=True)
class Stacked:
    """Tasks that are trained as one stack.

    Attributes:
        tasks: the stack's members.
        memory: the memory that it needs; None if it was not measured.
    """

    tasks: Sequence[Remaining]
    memory: Memory | None

    def member(self) -> Member:
        """The first member."""
        return config.member(self.tasks[0].config)

    def job(self, label: str) -> StackJob:
        """The stack as a job for an executor."""
        return StackJob(
            tuple(_shipped(task.config) for task in self.tasks),
            tuple(str(task.folder.absolute()) for task in self.tasks),
            tuple(task.notes for task in self.tasks),
            label,
            plugins.names(),
        )


def _shipped(one: DictConfig) -> str:
    """A config as text for another process, which may have another working directory."""
    where = {key: absolute(text) for key, text in sources(one).items()}
    return OmegaConf.to_yaml(with_sources(one, where), resolve=True)


def stacks(tasks: Sequence[Remaining], max_members: int | None, measure: bool = False) -> list[Stacked]:
    """Group tasks into stacks: tasks that differ only in stackable keys and start at the same step.

    Args:
        tasks: in any order.
        max_members: most members of a stack; None: as many as fit into half of the free memory, by a measurement.
        measure: measure the memory also where that is not needed for the grouping.

    Raises:
        ConfigError: the number of members must be measured, but the device does not exist here.
    """
    for device in {task.config.train.device for task in tasks} if max_members is None else ():
        _refuse_unmeasurable(device)
    begin = [(task.step, _branch_step(task)) for task in tasks]
    signatures = [
        (signature(plain(task.config)), task.config.train.resume, *at) for task, at in zip(tasks, begin, strict=True)
    ]
    measured: dict[int, Memory] = {}

    def at_most(group: list[int]) -> int:
        if measure or (max_members is None and len(group) > 1):
            found = _measured([tasks[number].config for number in group])
            if found is not None:
                measured[group[0]] = found
        if max_members is not None or group[0] not in measured:
            return max_members or 1
        return measured[group[0]].fitting(free_bytes(tasks[group[0]].config.train.device))

    parts = grouped(signatures, at_most)
    by_signature = {signatures[number]: found for number, found in measured.items()}
    return [Stacked([tasks[number] for number in part], by_signature.get(signatures[part[0]])) for part in parts]


def _branch_step(task: Remaining) -> int | None:
    """The step at which a branch without a checkpoint begins; None for other tasks."""
    text = task.config.train.branch_from
    if text is None or task.step >= 0:
        return None
    try:
        return at_step(BRANCH, text).step
    except ConfigError:  # reported when the member is trained
        return None


def _refuse_unmeasurable(device: str) -> None:
    try:
        find_device(device)
    except ConfigError as error:
        allowed = f"must be a number where the memory cannot be measured ({error})"
        raise ConfigError("hydra.launcher.max_members", None, allowed) from error


def _measured(configs: Sequence[DictConfig]) -> Memory | None:
    """Memory of a stack of members like the largest one that can be trained; None if none can.

    A stack is padded to its largest member, so every further member adds as much.
    """
    sizes: dict[str, int] = {}

    def size(one: DictConfig) -> int:
        # Different seeds draw about as many points from the same data.
        key = str(OmegaConf.masked_copy(one.data, [str(name) for name in one.data if name != "seed"]))
        if key not in sizes:
            sizes[key] = _points(one)
        return sizes[key]

    several_data = len({one.data.get("seed") for one in configs}) > 1
    for one in sorted(configs, key=size, reverse=True):
        try:
            return memory(config.member(one), several_data)
        except REFUSALS:  # reported when the cell is trained
            continue
        except Exception as error:  # an error of one cell must not end the others
            log.warning("a cell's memory cannot be measured: %s", failure_line(error))
    return None


def _points(one: DictConfig) -> int:
    """Number of questions of a member, on both sides of its split; 0 if it cannot be built for any reason."""
    with suppress(Exception):
        return sum(map(len, config.member(one).examples().subsets.values()))
    return 0


def left_to_do(cells: Sequence[Cell], remedy: str = REMEDY) -> list[Remaining]:
    """The cells that are not over, as tasks that resume from their last checkpoints. Nothing is written.

    Args:
        cells: of a sweep.
        remedy: what the message about folders that hold other runs advises.

    Raises:
        Refused: folders that hold runs with another config, or with one that cannot be resumed; the message names them.
        FolderBusy: another process writes to a folder.
    """
    wrong, tasks = [], []
    for cell in cells:
        check_folder(cell.folder, resume=True)
        if cell.config is None:
            continue
        try:
            stored = _stored(cell.folder, module_of(cell.config))
            found = few(disagreements(plain(cell.config), stored)) if stored is not None else ""
            task = _task(cell, stored) if not found else None
        except REFUSALS as error:  # the folder may be damaged or written by other people
            found, task = failure_line(error), None
        wrong += [f"{cell.folder.name}: {found}"] if found else []
        tasks += [] if task is None else [task]
        forget_saved()
    if wrong:
        told = few(wrong, "; ")
        raise Refused(f"{cells[0].folder.parent} holds runs that this call cannot resume: {told}: {remedy}")
    return tasks


def _stored(folder: Path, module: str | None) -> dict[str, Any] | None:
    """The config of the run in a folder, typed and checked; None if no run has begun there.

    Raises:
        One of REFUSALS: the folder holds no run of this program.
    """
    found = run_config(folder) if (folder / METRICS).exists() else None
    return None if found is None else plain(composed(found, [] if module is None else [module]))


def _task(cell: Cell, stored: Mapping[str, Any] | None) -> Remaining | None:
    assert cell.config is not None
    steps, where = cell.config.train.steps, sources(cell.config)
    if stored is not None:  # a cell may have been trained further by itself
        steps, where = max(steps, stored["train"]["steps"]), sources(stored)
    going_on = with_sources(cell.config, where)
    going_on.train.steps, going_on.train.resume = steps, True
    if stored is not None:
        check_length(going_on, stored)
    if nothing_left(cell.folder, going_on) is not None:
        return None
    last = saved(cell.folder.absolute())
    notes = {"overrides.yaml": OmegaConf.to_yaml(list(cell.overrides))}
    return Remaining(going_on, cell.folder, -1 if last is None else last.step, notes)


def described(stack: Stacked) -> str:
    """A short description of a stack's size."""
    found = stack.memory
    size = f", {human(found.each)} each, {human(found.of(len(stack.tasks)))} in all" if found else ""
    begun = f" from step {stack.tasks[0].step:,}" if stack.tasks[0].step > 0 else ""
    return f"{len(stack.tasks)} members, {stack.tasks[0].config.train.steps:,} steps{begun}{size}"
