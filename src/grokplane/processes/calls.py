"""Calls of functions from several threads, in this process or in worker processes."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from grokplane.processes.worker import DEAD, DiedError, Raised, Unreadable, Worker

log = logging.getLogger(__name__)

PATIENCE = 5.0  # starting a process takes 2 seconds of one core
LONGEST_START = 10.0  # seconds
T = TypeVar("T")


class ClosedError(EOFError):
    """The processes have been closed, so no result will be used."""


class Processes:
    """Calls functions for several threads, with one process each; `close` ends the processes.

    Args:
        count: number of processes.
        prepare: function that each process calls first; the process is used after it has returned.
        calls: approximate total number of calls.
        patience: processes start when the remaining calls would take this many seconds, judged by the calls so far.
    """

    def __init__(self, count: int, prepare: Callable[[], object], calls: int, patience: float = PATIENCE) -> None:
        self._count, self._prepare, self._calls, self._patience = count, prepare, calls, patience
        self._changed, self._took = threading.Condition(), _Took()
        self._starter: threading.Thread | None = None
        self._starter_works = self._starting = False
        self._all: list[Worker] = []
        self._idle: list[Worker] = []
        self._closed = self._careful = False
        self._told = set[str]()

    def call(self, function: Callable[..., T], *args: Any, patient: bool = False) -> T:
        """Return or raise what `function(*args)` does, in an idle process if everything can be pickled, otherwise here.

        If a process dies, a warning is logged and another process is started. If it died during a call, for example
        from lack of memory, the call is not repeated here, where it might end the run. From then on no call runs here:
        calls wait for a process.

        Args:
            function, args: the call.
            patient: wait for the first process, up to 10 seconds, in place of working here while it starts.

        Raises:
            DiedError: the process died during the call, or no process is left.
            ClosedError: `close` was called.
        """
        process = self._found(patient)
        if process is None:
            return self._here(function, *args)
        try:
            answer = process.ask(function, *args)
        except DEAD as error:
            if self._closed:
                raise ClosedError("the processes have been closed") from error
            fate = process.fate()
            self._lose(process, careful=True)
            raise DiedError(f"a worker process that was computing has died ({fate})") from error
        except BaseException:  # an interrupt: the process's next answer would belong to no call
            self._lose(process, careful=False)
            raise
        self._free(process)
        if isinstance(answer, Unreadable):
            self._tell("work that cannot be pickled is computed in this process, beside training", answer.reason)
            return function(*args)
        if isinstance(answer, Raised):
            raise answer.error
        return answer

    def close(self) -> None:
        """End the processes at once; calls in progress raise `ClosedError`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for process in self._all:
                process.end(at_once=process not in self._idle)
            self._idle = []
        if self._starter is not None:
            self._starter.join()
        for process in self._all:
            process.wait()
        self._all = []

    def _found(self, patient: bool) -> Worker | None:
        with self._changed:
            if self._careful and not self._all:
                self._begin()
            if (patient or self._careful) and self._starting:
                came = self._changed.wait_for(lambda: self._idle or self._closed or not self._starting, LONGEST_START)
                self._starting = self._starting and bool(came)
            while True:
                if self._closed:
                    raise ClosedError("the processes have been closed")
                process = self._idle_one()
                if process is not None or not self._careful:
                    return process
                if not (self._all or self._starter_works):
                    raise DiedError("the worker processes have died, and no other can be started")
                self._changed.wait()

    def _idle_one(self) -> Worker | None:
        while self._idle:
            process = self._idle.pop()
            if process.lives():
                return process
            self._tell("an idle worker process has died, another is started", process.fate())
            self._lose(process, careful=False)
        return None

    def _lose(self, process: Worker, careful: bool) -> None:
        """Remove a dead process and start another."""
        process.end(at_once=True)
        process.wait()
        with self._changed:
            self._careful = self._careful or careful
            if process in self._all:
                self._all.remove(process)
            if not self._closed:
                self._begin()
            self._changed.notify_all()

    def _free(self, process: Worker) -> None:
        with self._changed:
            self._idle.append(process)
            self._changed.notify_all()

    def _here(self, function: Callable[..., T], *args: Any) -> T:
        begin = time.monotonic()
        try:
            return function(*args)
        finally:
            with self._changed:
                self._took.add(time.monotonic() - begin)
                worth_it = self._took.still_to_come(self._calls) >= self._patience
                if worth_it and self._starter is None and not self._closed:
                    self._begin()

    def _begin(self) -> None:
        """Start the missing processes, unless another thread is doing so."""
        if self._starter_works:
            return
        starter = threading.Thread(target=self._start, name="starter", daemon=True)
        try:
            starter.start()
        except RuntimeError as error:
            self._tell_of_the_start(error)
            self._patience = math.inf
        else:
            self._starter, self._starter_works, self._starting = starter, True, True

    def _start(self) -> None:
        fresh: list[Worker] = []
        try:
            while fresh := self._made():
                for process in list(fresh):
                    answer = process.ask(self._prepare)
                    if isinstance(answer, Raised | Unreadable):
                        raise EOFError(f"it cannot be prepared: {answer}")
                    fresh.remove(process)
                    self._free(process)
        except Exception as error:
            with self._changed:
                if self._closed:
                    return
                self._tell_of_the_start(error)
                self._all = [process for process in self._all if process not in fresh]
                self._started()
            for process in fresh:
                process.end(at_once=True)
                process.wait()

    def _made(self) -> list[Worker]:
        """New processes for the missing ones; none if the start is complete."""
        with self._changed:
            missing = 0 if self._closed else self._count - len(self._all)
            fresh: list[Worker] = []
            for _ in range(missing):
                try:
                    fresh.append(Worker())
                except OSError:
                    if not fresh:
                        raise
                    break  # the started processes are prepared first
                self._all.append(fresh[-1])
            if not fresh:
                self._started()
            return fresh

    def _started(self) -> None:
        self._starting = self._starter_works = False
        self._changed.notify_all()

    def _tell_of_the_start(self, error: Exception) -> None:
        self._tell("no worker process can be started: computations beside training slow it down", error)

    def _tell(self, what: str, why: object) -> None:
        """Log a warning, once per text."""
        if what not in self._told:
            self._told.add(what)
            log.warning("%s (%s)", what, why)


@dataclass
class _Took:
    """Seconds that the calls took."""

    calls: int = 0
    total: float = 0.0
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        self.calls, self.total, self.longest = self.calls + 1, self.total + seconds, max(self.longest, seconds)

    def still_to_come(self, calls: int) -> float:
        """Estimate from the mean without the longest call, as the first call imports modules."""
        return 0.0 if self.calls < 2 else (self.total - self.longest) / (self.calls - 1) * max(0, calls - self.calls)
