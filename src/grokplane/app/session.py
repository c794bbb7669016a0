"""One stack from configs to finished folders: resume, train, record, draw."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from grokplane import config
from grokplane.app.branching import begin_record
from grokplane.app.exit_codes import DIVERGED, FINISHED, SIGNALLED
from grokplane.app.member_writer import MemberWriter, grok_summary
from grokplane.app.progress import Preparation, Progress
from grokplane.app.report import shortened
from grokplane.app.resume import forget_saved, saved
from grokplane.app.signals import StopRequest
from grokplane.app.sources import absolute, forget_sources, origin, pinned, sources
from grokplane.app.starting import begin
from grokplane.files import write_text
from grokplane.options import ConfigError
from grokplane.record import FolderLock, Recorder, claim
from grokplane.record.folder import delete_run
from grokplane.say import note
from grokplane.train import Stack, TrainOptions, prepare_process, run
from grokplane.waiting import Doing

log = logging.getLogger(__name__)


class _StoppedError(BaseException):
    """Somebody asked to stop before the first step; no error, so that nothing tells of it as of one."""


@dataclass(frozen=True)
class Outcome:
    """How a session ended.

    Attributes:
        summaries: what each member's summary.json says.
        signal: the signal that asked to stop, if one did, even too late.
    """

    summaries: list[dict[str, Any]]
    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """0 when all finished, 3 when one diverged, 128 + the signal when interrupted."""
        if self.signal is not None and any(summary["status"] == "interrupted" for summary in self.summaries):
            return SIGNALLED + self.signal
        return DIVERGED if any(summary["status"] == "diverged" for summary in self.summaries) else FINISHED


def execute(
    configs: Sequence[DictConfig],
    folders: Sequence[Path],
    label: str = "",
    notes: Sequence[Mapping[str, str]] = (),
    locks: Sequence[FolderLock] = (),
) -> Outcome:
    """Train the members that the configs describe as one stack, each into its own folder.

    With `train.resume=true` each goes on from the checkpoint in its folder (from step 0 where there is none). A run
    that goes on does not need the run that it started from.

    Args:
        configs: one a member.
        folders: one a member.
        label: what progress calls this stack.
        notes: one a member: files for `.hydra/` beside `config.yaml`, by name; those that are there already stay.
        locks: those of the folders, where the caller has claimed them; they are released here.

    Raises:
        ConfigError: members that cannot be trained together, folders that are taken or in use.
    """
    with ExitStack() as exits:
        for lock in locks:
            exits.callback(lock.release)
        exits.callback(forget_saved)
        exits.callback(forget_sources)
        configs = [pinned(one, folder) for one, folder in zip(configs, folders, strict=True)]
        stop = exits.enter_context(StopRequest())
        with Doing("building data and networks"):
            members = [config.member(one) for one in configs]
            prepare_process(members)
            stack = Stack(members)
        options = stack.shared.train
        locks = locks or _claimed(folders, options, exits)
        if options.resume:
            with Doing("reading the checkpoint"):
                _go_on(stack, folders)
            forget_saved()
        with Doing("reading the weights to start from"):
            emptied = begin(stack)
            _begin_records(emptied, configs, folders)
        forget_sources()
        for folder in folders if not label else ():  # whoever trains stacks has told of theirs
            note(f"folder       {shortened(folder)}")
        recorders = _opened(stack, configs, folders, locks, exits, branches=bool(emptied))
        for one, folder, more in zip(configs, folders, notes or [{}] * len(folders), strict=True):
            write_config(folder, one, more)
        log.info("step %d of %d on %s, %d threads", stack.step, options.steps, stack.device, torch.get_num_threads())
        writers = [
            MemberWriter(stack, number, recorder, plain(configs[number])) for number, recorder in enumerate(recorders)
        ]
        for writer in writers if emptied else ():
            writer.begin()
        if _prepared(stack, stop):
            with Progress(stack.step, options.steps, label) as progress:
                for point in run(stack, stop):
                    progress.show(point.step, point.records)
                    for writer in writers:
                        writer.take(point)
        summaries = [writer.close() for writer in writers]
    for folder, summary in zip(folders, summaries, strict=True):
        told = (summary["status"], summary["steps"], summary["grok"])
        log.info("%s at step %d: %s", *told, extra={"folder": folder})
    return Outcome(summaries, stop.signal)


def _opened(
    stack: Stack,
    configs: Sequence[DictConfig],
    folders: Sequence[Path],
    locks: Sequence[FolderLock],
    exits: ExitStack,
    branches: bool,
) -> list[Recorder]:
    """The recorders of the members, which close with `exits`."""
    with Doing("opening the record"):
        return [
            exits.enter_context(_recorder(one, folder, stack, number, lock, branches))
            for number, (one, folder, lock) in enumerate(zip(configs, folders, locks, strict=True))
        ]


def _prepared(stack: Stack, stop: StopRequest) -> bool:
    """Do what estimates need once, before the first step; False if somebody asked to stop meanwhile."""
    if stack.gauge is None:
        return True
    with Preparation("fitting the code of the images") as preparation:

        def show(done: int, total: int) -> None:
            preparation.show(done, total)
            if stop():
                raise _StoppedError

        try:
            stack.gauge.prepare(show)
        except _StoppedError:
            return False
    return True


def _begin_records(emptied: Sequence[Sequence[str]], configs: Sequence[DictConfig], folders: Sequence[Path]) -> None:
    """Begin the records of new branches with those of their runs, and tell what of their state starts empty.

    Args:
        emptied: a branch's lines about memory that starts empty, see `grokplane.train.branch`; empty for other stacks.
        configs, folders: of the members.
    """
    for one, folder in zip(configs, folders, strict=True) if emptied else ():
        if one.train.overwrite:
            delete_run(folder)
        begin_record(one, folder)
    for line, count in Counter(line for lines in emptied for line in lines).items():
        note(f"{line}: {count} of {len(folders)} runs" if len(folders) > 1 else line)


def _go_on(stack: Stack, folders: Sequence[Path]) -> None:
    """Take the stack up where the folders' checkpoints left it; at step 0 where there are none yet."""
    checkpoints = [saved(folder.absolute()) for folder in folders]
    if len({None if last is None else last.step for last in checkpoints}) > 1:
        found = ", ".join(f"{folder}: {last and last.step}" for folder, last in zip(folders, checkpoints, strict=True))
        raise ConfigError("train.resume", True, f"the members of a stack must resume from one step, not {found}")
    states = [last.state for last in checkpoints if last is not None]
    if len(states) == len(folders):
        prepare_process(stack.members, states)
        stack.load_states(states)


def _claimed(folders: Sequence[Path], options: TrainOptions, exits: ExitStack) -> list[FolderLock]:
    """The folders' locks, released with the session."""
    locks = []
    for folder in folders:
        locks.append(claim(folder, overwrite=options.overwrite, resume=options.resume))
        exits.callback(locks[-1].release)
    return locks


def _recorder(one: DictConfig, folder: Path, stack: Stack, number: int, lock: FolderLock, branches: bool) -> Recorder:
    """The recorder of a member; that of a new branch goes on behind the copied record."""
    options = stack.shared.train
    return Recorder(
        folder,
        plain(one),
        config.made("record", one.record),
        overwrite=options.overwrite and not branches,
        resume_step=stack.step if options.resume or branches else None,
        keep_checkpoints=stack.shared.checkpoints.last,
        stays=stack.shared.checkpoints.stays,
        extra={
            "device": str(stack.device),
            "threads": torch.get_num_threads(),
            "members": len(stack.members),
            "grok": grok_summary(stack, number),
            **origin(one, folder),
        },
        lock=lock,
    )


def write_config(folder: Path, one: DictConfig, notes: Mapping[str, str]) -> None:
    """Keep `.hydra/` what the run is, for readers of the folder.

    Args:
        folder: the run's.
        one: its config, without Hydra's node.
        notes: files beside `config.yaml`, by name; where the config resumes, those that are there already stay.
    """
    place = folder / ".hydra"
    place.mkdir(parents=True, exist_ok=True)
    fresh = not one.train.resume
    for name, text in ({"config.yaml": OmegaConf.to_yaml(OmegaConf.create(plain(one)))} | dict(notes)).items():
        written = place / name
        stays = written.exists() and (written.read_text(encoding="utf-8") == text or (name in notes and not fresh))
        if not stays:
            write_text(written, text)


def plain(one: DictConfig) -> dict[str, Any]:
    """A config as plain nested dicts, as it is stored: without the keys that say how this call started the run.

    The node `grokplane` is stored if it names plug-ins, and the folders in `train.start_from` and
    `train.branch_from` are absolute.
    """
    container = OmegaConf.to_container(one, resolve=True)
    assert isinstance(container, dict)
    container.pop("hydra", None)
    if not container.get("grokplane", {}).get("plugins"):
        container.pop("grokplane", None)
    container["train"] |= {"resume": False, "overwrite": False}
    container["train"] |= {key.removeprefix("train."): absolute(text) for key, text in sources(one).items()}
    return {str(key): value for key, value in container.items()}
