"""Shared code of executors that train in other processes or on other machines: waiting for stacks."""

from __future__ import annotations

import importlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Protocol

from grokplane.app.exit_codes import DIVERGED, FAILED, FINISHED, SIGNALLED
from grokplane.app.signals import StopRequest
from grokplane.options import ConfigError
from grokplane.sweep.job import StackJob, StackResult

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
# Slurm kills a job that has not stopped 30 seconds after the signal (its KillWait).
GRACE_SECONDS = 40.0


class RemoteJob(Protocol):
    """One stack that is queued or trained in another process."""

    def done(self) -> bool:
        """Whether it has ended, for whatever reason."""
        ...

    def result(self) -> StackResult:
        """Its result, also if the worker died. Called after `done` returned True."""
        ...

    def cancel(self) -> None:
        """Remove it from the queue, or ask its worker to stop after the step and write a checkpoint."""
        ...


def collect(
    jobs: Sequence[StackJob], start: Callable[[StackJob], RemoteJob], at_once: int
) -> Iterator[tuple[int, StackResult]]:
    """Start the jobs, at most `at_once` at a time; yield (index in `jobs`, result) of each as it ends.

    SIGTERM and Ctrl-C cancel all queued and running jobs, whose results are then `interrupted`. A second Ctrl-C does
    not wait for them.
    """
    waiting, running = deque(enumerate(jobs)), dict[int, RemoteJob]()
    with StopRequest() as stop:
        try:
            while (waiting or running) and not stop():
                while waiting and len(running) < at_once:
                    position, job = waiting.popleft()
                    running[position] = start(job)
                ended = [position for position, task in running.items() if task.done()]
                for position in ended:
                    yield position, settled(running.pop(position).result())
                if not ended:
                    time.sleep(POLL_SECONDS)
        finally:
            _cancel(list(running.values()))
        for position in [*running, *(position for position, _ in waiting)]:
            yield position, interrupted(jobs[position], stop.signal or 0)


def _cancel(tasks: Sequence[RemoteJob]) -> None:
    """Cancel the jobs and wait until all have stopped, up to a time limit."""
    if not tasks:
        return
    log.warning("cancelling queued and running jobs (%d); they can be resumed from their checkpoints", len(tasks))
    for task in tasks:
        task.cancel()
    deadline = time.monotonic() + GRACE_SECONDS
    while not all(task.done() for task in tasks) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def interrupted(job: StackJob, number: int) -> StackResult:
    """The result of a stack that signal `number` stopped, from the contents of its folders."""
    from grokplane.record import read_summary

    summaries = tuple(read_summary(Path(folder)) or None for folder in job.folders)
    return StackResult(SIGNALLED + number, summaries, (None,) * len(job.folders))


def lost(job: StackJob, line: str) -> StackResult:
    """The result of a stack whose worker died: every member gets the line as its error."""
    return StackResult(FAILED, (None,) * len(job.folders), (line,) * len(job.folders))


def unfinished(result: StackResult) -> list[bool]:
    """For each member, whether a signal stopped it before its end."""
    signalled = result.exit_code >= SIGNALLED
    return [
        signalled and error is None and (summary is None or summary["status"] == "interrupted")
        for summary, error in zip(result.summaries, result.errors, strict=True)
    ]


def settled(result: StackResult) -> StackResult:
    """A worker's result, in a sweep that continues although the worker was told to stop."""
    if result.exit_code < SIGNALLED:
        return result
    line = f"its worker was told to stop (signal {result.exit_code - SIGNALLED}); it can be resumed"
    errors = tuple(line if open_ else error for open_, error in zip(unfinished(result), result.errors, strict=True))
    diverged = any(summary is not None and summary["status"] == "diverged" for summary in result.summaries)
    return StackResult(FAILED if any(errors) else DIVERGED if diverged else FINISHED, result.summaries, errors)


def imported(package: str, executor: str, extra: str) -> ModuleType:
    """Import the package that an executor needs.

    Raises:
        ConfigError: the package is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        allowed = f"needs the package {package}: pip install -e .[{extra}]"
        raise ConfigError("hydra.launcher.executor", executor, allowed) from None


def last_line(text: str) -> str:
    """The last line of an error's text that is not empty."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip(" -")), "no reason given")
