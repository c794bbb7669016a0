"""One stack as a job: plain data in, plain data out, so that any process on any machine can train it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from grokplane import config
from grokplane.app.errors import REFUSALS, one_line
from grokplane.app.exit_codes import DIVERGED, FAILED, FINISHED, SIGNALLED
from grokplane.app.resume import forget_saved, nothing_left, saved
from grokplane.app.session import execute, write_config
from grokplane.app.sources import pinned
from grokplane.app.starting import begin
from grokplane.options import ConfigError
from grokplane.record import FolderBusy, FolderLock, FolderTaken, claim, read_summary
from grokplane.record.folder import delete_run, note_failure
from grokplane.record.rows import METRICS
from grokplane.record.summary import cause
from grokplane.sweep.files import allow_files, logs_in
from grokplane.sweep.job import StackJob, StackResult
from grokplane.train import Stack

log = logging.getLogger(__name__)

# Open files of a member: metrics, lock, and those of W&B.
FILES_A_MEMBER = 8


def run_stack(job: StackJob) -> StackResult:
    """Train a stack to its end. Errors of members are recorded and not raised.

    If the stack cannot be built, the members that cannot be built alone are left out. If training fails, it continues
    in halves from the last checkpoints, so that in the end only members that fail alone have failed. Each of them gets
    a `summary.json` with status `failed` and its `error`.
    """
    config.use_plugins(job.plugins)
    config.register_schemas()
    allow_files(FILES_A_MEMBER * len(job.folders))
    work = _Work(job)
    with logs_in([member.folder for member in work.members]):
        work.run()
    return work.result()


class _Member:
    """One member of a job: its config, its folder and its outcome.

    In its own folder a new run is the same as one that resumes from nothing, so every member resumes. Work done before
    a failure is kept, whatever the call asked for.
    """

    def __init__(self, text: str, folder: str, notes: Mapping[str, str]) -> None:
        made = OmegaConf.create(text)
        assert isinstance(made, DictConfig)
        self.config, self.folder, self.notes = made, Path(folder), notes
        self.summary: Mapping[str, Any] | None = None
        self.error: str | None = None
        self.lock: FolderLock | None = None

    def open(self) -> None:
        """Prepare the folder: lock it, delete a run that is to be overwritten, write `.hydra/`.

        Raises:
            FolderBusy, FolderTaken: see `grokplane.record.check_folder`.
            ConfigError: see `grokplane.app.sources.pinned`.
        """
        self.config = pinned(self.config, self.folder)
        options = self.config.train
        self.lock = claim(self.folder, overwrite=options.overwrite, resume=options.resume)
        if options.overwrite:
            delete_run(self.folder)
        options.resume, options.overwrite = True, False
        if (self.folder / METRICS).exists():
            return
        write_config(self.folder, self.config, self.notes)

    def tried(self, attempt: Callable[[], object]) -> bool:
        """Whether an attempt succeeds; records the error if it does not."""
        try:
            attempt()
        except Exception as error:
            self.fail(error)
            return False
        return True

    def hold(self) -> FolderLock:
        """The folder's lock, acquired again for another attempt."""
        self.lock = self.lock or claim(self.folder, resume=True)
        return self.lock

    def let_go(self) -> None:
        """Release the lock if it is held."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None

    def build(self) -> None:
        """Build the member alone, to raise errors that are its own."""
        stack = Stack([config.member(self.config)])
        if self.step() < 0:
            begin(stack)

    def over(self) -> bool:
        """Whether an earlier attempt trained it to its end."""
        over = nothing_left(self.folder, self.config) is not None
        if over:
            self.summary = read_summary(self.folder)
        return over

    def step(self) -> int:
        """Step of its last checkpoint, -1 for none."""
        last = saved(self.folder.absolute())
        return -1 if last is None else last.step

    def fail(self, error: Exception) -> None:
        """Record an error of this member."""
        self.let_go()
        self.error = failure_line(error)
        trace = None if isinstance(error, REFUSALS) else error
        log.warning("%s failed: %s", self.folder, self.error, exc_info=trace, extra={"folder": self.folder})
        if not isinstance(error, FolderBusy | FolderTaken):  # the folder holds another run
            try:
                self.summary = note_failure(self.folder, self.error)
            except (OSError, ConfigError) as found:  # a full disk, or a lock that was not released
                log.warning("%s: summary.json cannot be written: %s", self.folder, found)


class _Work:
    """A job in progress."""

    def __init__(self, job: StackJob) -> None:
        notes = job.notes or ({},) * len(job.configs)
        self.members = [_Member(*parts) for parts in zip(job.configs, job.folders, notes, strict=True)]
        self.label, self.signal = job.label, 0

    def run(self) -> None:
        """Train all members that can be trained."""
        opened = [position for position, member in enumerate(self.members) if member.tried(member.open)]
        if opened:
            self._train(opened)

    def _train(self, positions: Sequence[int]) -> None:
        """Train these members as one stack, or in parts if that fails."""
        members = [self.members[position] for position in positions]
        try:
            locks = [one.hold() for one in members]
            outcome = execute([one.config for one in members], [one.folder for one in members], self.label, locks=locks)
        except Exception as error:  # an error of one member must not end the others
            for one in members:
                one.let_go()
            self._take_apart(positions, error)
            return
        self.signal = outcome.signal or 0
        for member, summary in zip(members, outcome.summaries, strict=True):
            member.summary = summary

    def _take_apart(self, positions: Sequence[int], error: Exception) -> None:
        if len(positions) == 1:
            self.members[positions[0]].fail(error)
            return
        log.warning("a stack of %d members failed and is split: %s", len(positions), failure_line(error))
        steps: dict[int, list[int]] = {}
        for position in positions:
            member = self.members[position]
            if not member.over() and member.tried(member.build):
                steps.setdefault(member.step(), []).append(position)
        forget_saved()
        for part in _smaller(list(steps.values()), len(positions)):
            if not self.signal:
                self._train(part)

    def result(self) -> StackResult:
        """The result of the job."""
        summaries = tuple(member.summary for member in self.members)
        errors = tuple(member.error for member in self.members)
        statuses = {summary["status"] for summary in summaries if summary is not None}
        code = DIVERGED if "diverged" in statuses else FINISHED
        code = FAILED if any(errors) else code
        return StackResult(SIGNALLED + self.signal if self.signal else code, summaries, errors)


def _smaller(parts: list[list[int]], whole: int) -> list[list[int]]:
    """The parts, or the halves of a part that is as large as the stack that failed."""
    if len(parts) == 1 and len(parts[0]) == whole:
        return [parts[0][: whole // 2], parts[0][whole // 2 :]]
    return parts


def failure_line(error: Exception) -> str:
    """The error as one line."""
    return one_line(error, [], []) if isinstance(error, REFUSALS) else cause(error)
