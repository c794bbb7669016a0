"""Pure functions done here at first, and in processes of their own once that is worth it; on the floor below all rooms.

Two threads of Python share one interpreter, so what a thread computes slows the training beside it; a process does not.
`concurrent.futures.ProcessPoolExecutor` does not serve: its processes live on when their parent is killed (each holds
both ends of its queue), the terminal's Ctrl-C reaches them, they run the parent's main script, and tensors go to them
as shared memory with a file descriptor each. Here a process ends when its input does.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, TypeVar

import torch

log = logging.getLogger(__name__)

PATIENCE = 5.0  # starting a process takes 2 seconds of a core
LONGEST_START = 10.0  # seconds
DEAD = (EOFError, OSError, pickle.UnpicklingError)  # what asking a process raises that has died, or never lived
_SERVE = "from grokplane.processes import serve; serve()"
T = TypeVar("T")


class Processes:
    """Calls functions for several threads, a process for each; `close` ends them.

    Args:
        count: how many processes.
        prepare: what each calls first; it is used when that has returned.
        calls: about how many calls are to come in all.
        patience: seconds of work still to come, by what the calls so far took, for which they are started.
    """

    def __init__(self, count: int, prepare: Callable[[], object], calls: int, patience: float = PATIENCE) -> None:
        self._count, self._prepare, self._calls, self._patience = count, prepare, calls, patience
        self._changed, self._took = threading.Condition(), _Took()
        self._starter: threading.Thread | None = None
        self._starting = False
        self._all: list[_Process] = []
        self._idle: list[_Process] = []
        self._closed = False

    def call(self, function: Callable[..., T], *args: Any, patient: bool = False) -> T:
        """What `function(*args)` returns or raises. In a process if both can be sent there and one is idle, else here.

        One that dies is told of, and does no harm: its work is done again here.

        Args:
            function, args: what to call.
            patient: wait for the first process, up to 10 seconds, rather than work here while it starts.
        """
        process = self._found(patient)
        if process is None:
            return self._here(function, *args)
        try:
            answer = process.ask(function, *args)
        except DEAD as error:
            if self._closed:
                raise
            log.warning("a process that worked beside training has died (%s); its work is done in this one", error)
            return function(*args)
        if isinstance(answer, _Unreadable):
            log.warning("%s; it is computed beside training in this process", answer.reason)
            return function(*args)
        self._free(process)
        if isinstance(answer, _Raised):
            raise answer.error
        return answer

    def close(self) -> None:
        """End the processes, whatever they are at; calls that were under way raise one of `DEAD`."""
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

    def _found(self, patient: bool) -> _Process | None:
        with self._changed:
            if patient and self._starting:
                came = self._changed.wait_for(lambda: self._idle or self._closed or not self._starting, LONGEST_START)
                self._starting = self._starting and bool(came)
            if self._closed:
                raise EOFError("the processes have been closed")
            return self._idle.pop() if self._idle else None

    def _free(self, process: _Process) -> None:
        with self._changed:
            self._idle.append(process)
            self._changed.notify()

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
        starter = threading.Thread(target=self._start, name="starter", daemon=True)
        try:
            starter.start()
        except RuntimeError as error:
            log.warning("no process can be started (%s): what is computed beside training slows it", error)
            self._patience = math.inf
        else:
            self._starter, self._starting = starter, True

    def _start(self) -> None:
        try:
            for _ in range(self._count):
                with self._changed:
                    if self._closed:
                        return
                    self._all.append(_Process())
            for process in list(self._all):
                answer = process.ask(self._prepare)
                if isinstance(answer, _Raised | _Unreadable):
                    raise EOFError(f"it cannot be prepared: {answer}")
                self._free(process)
        except DEAD as error:
            if not self._closed:
                log.warning("no process can be started (%s): what is computed beside training slows it", error)
        finally:
            with self._changed:
                self._starting = False
                self._changed.notify_all()


@dataclass
class _Took:
    """Seconds that calls took."""

    calls: int = 0
    total: float = 0.0
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        self.calls, self.total, self.longest = self.calls + 1, self.total + seconds, max(self.longest, seconds)

    def still_to_come(self, calls: int) -> float:
        """By the mean without the longest call: the first one imports modules."""
        return 0.0 if self.calls < 2 else (self.total - self.longest) / (self.calls - 1) * max(0, calls - self.calls)


@dataclass(frozen=True)
class _Raised:
    error: Exception


@dataclass(frozen=True)
class _Unreadable:
    reason: str


class _Process:
    """A Python process that answers calls, one after the other."""

    def __init__(self) -> None:
        modules = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE],
            env=os.environ | {"PYTHONPATH": modules},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def ask(self, function: Callable[..., object], *args: Any) -> Any:
        """What the function returns, a `_Raised` or an `_Unreadable`; raises one of `DEAD` if the process is."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        call = io.BytesIO()
        try:
            _Pickler(call, pickle.HIGHEST_PROTOCOL).dump((function, args))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            return _Unreadable(str(error))
        _send(call.getvalue(), self._process.stdin)
        return pickle.loads(pickle.load(self._process.stdout))

    def end(self, at_once: bool) -> None:
        """End it, at once or when it finds that no more calls come."""
        assert self._process.stdin is not None
        if at_once:
            self._process.kill()
        else:
            self._process.stdin.close()

    def wait(self) -> None:
        """Wait until it has ended, and let go of it."""
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what a killed process did not read
                    pipe.close()


class _Pickler(pickle.Pickler):
    """Writes tensors as arrays, which takes a quarter of the time that torch takes."""

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is torch.Tensor and obj.device.type == "cpu" and not obj.requires_grad:
            return torch.tensor, (obj.numpy(),)
        return NotImplemented


def serve() -> None:
    """Answer calls from standard input on standard output until the input ends: what a process does.

    Signals to stop are the parent's business. What a function prints goes to standard error.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        with contextlib.suppress(EOFError, BrokenPipeError):
            while True:
                _send(_answer(pickle.load(sys.stdin.buffer)), answers)


def _answer(call: bytes) -> bytes:
    try:
        function, args = pickle.loads(call)
    except Exception as error:
        return pickle.dumps(_Unreadable(str(error)))
    try:
        return pickle.dumps(function(*args), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        return pickle.dumps(_Raised(error))


def _send(pickled: bytes, pipe: IO[bytes]) -> None:
    """As bytes within a pickle, so that what cannot be read does not spoil what comes after it."""
    pickle.dump(pickled, pipe)
    pipe.flush()
