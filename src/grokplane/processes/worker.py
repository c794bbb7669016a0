"""One worker process that answers calls, and both sides of its protocol."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import torch

DEAD = (EOFError, OSError, pickle.UnpicklingError)  # errors of a call to a process that has died or never started
LOOK = 1.0  # seconds between checks of a working process
HUNG = 60  # checks without processor time after which a process counts as hung: its calls only compute
END = 10.0  # seconds in which a process ends after its input has ended; a stopped process never does
_SERVE = "from grokplane.processes import serve; serve()"


class DiedError(RuntimeError):
    """A process ended during a call, so the call's result is unknown."""


@dataclass(frozen=True)
class Raised:
    """An exception raised by the function."""

    error: Exception


@dataclass(frozen=True)
class Unreadable:
    """A call or an answer that cannot be pickled; the process can still be used."""

    reason: str


class Worker:
    """A Python process that answers one call after the other."""

    def __init__(self) -> None:
        modules = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _SERVE],  # -P: files of the current folder are not importable
            env=os.environ | {"PYTHONPATH": modules},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)  # see `_write`

    def ask(self, function: Callable[..., object], *args: Any) -> Any:
        """The function's result, a `Raised` or an `Unreadable`; raises one of `DEAD` if the process has died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            call = _pickled(function, args)
        except Exception as error:
            return Unreadable(f"{type(error).__name__}: {error}")
        self._write(pickle.dumps(call))
        self._wait_for(self._process.stdout, selectors.EVENT_READ)
        answer = pickle.load(self._process.stdout)
        try:
            return pickle.loads(answer)
        except Exception as error:
            return Unreadable(f"{type(error).__name__}: {error}")

    def _write(self, sent: bytes) -> None:
        """Write a call while the process reads; a hung process reads no more than a pipe holds."""
        assert self._process.stdin is not None
        rest = memoryview(sent)
        while rest:
            try:
                rest = rest[os.write(self._process.stdin.fileno(), rest) :]
            except BlockingIOError:
                self._wait_for(self._process.stdin, selectors.EVENT_WRITE)

    def _wait_for(self, pipe: IO[bytes], event: int) -> None:
        """Raise EOFError if the process ends or hangs; its child processes may keep its end of the pipe open."""
        used, idle = self._used(), 0
        with selectors.DefaultSelector() as ready:
            ready.register(pipe, event)
            while not ready.select(LOOK):
                if not self.lives() and not ready.select(0):
                    raise EOFError("it has ended")
                before, used = used, self._used()
                idle = idle + 1 if used is not None and used == before else 0
                if idle >= HUNG:
                    raise EOFError("it hangs")

    def _used(self) -> bytes | None:
        """The process's processor time according to Linux; None on other systems, where a hung process is waited for.

        Checks are counted, not seconds, because this process may have been suspended in between.
        """
        try:
            with open(f"/proc/{self._process.pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            return None
        return b" ".join(fields[11:13])  # utime and stime

    def lives(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def fate(self) -> str:
        """How the process ended, in words; called when it has been found dead."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        code = self._process.returncode
        if code is None:
            return "no longer answers"
        if code == -signal.SIGKILL:
            return "killed, possibly for lack of memory"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def end(self, at_once: bool) -> None:
        """End the process, at once or when it reads the end of its input."""
        assert self._process.stdin is not None
        if at_once:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # its session, including its children
        else:
            with contextlib.suppress(OSError):  # data that a dead process did not read
                self._process.stdin.close()

    def wait(self) -> None:
        """Wait until the process has ended, and release its resources."""
        try:
            self._process.wait(END)
        except subprocess.TimeoutExpired:
            self.end(at_once=True)
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # data that a killed process did not read
                    pipe.close()


class _Pickler(pickle.Pickler):
    """Pickles tensors as arrays, in a quarter of the time of torch's own pickling."""

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is torch.Tensor and obj.device.type == "cpu" and not obj.requires_grad:
            with contextlib.suppress(TypeError):  # numpy has no bfloat16
                return torch.tensor, (obj.numpy(),)
        return NotImplemented


def _pickled(function: Callable[..., object], args: tuple[Any, ...]) -> bytes:
    call = io.BytesIO()
    _Pickler(call, pickle.HIGHEST_PROTOCOL).dump((function, args))
    return call.getvalue()


def serve() -> None:
    """Answer calls from standard input on standard output until the input ends: the main function of a process.

    Signals to stop are handled by the parent. A function's output goes to standard error, and it has no input.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    calls = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    with calls, os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers, open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        with contextlib.suppress(EOFError, BrokenPipeError):
            while True:
                _send(_answer(pickle.load(calls)), answers)


def _answer(call: bytes) -> bytes:
    try:
        function, args = pickle.loads(call)
    except MemoryError as error:
        return pickle.dumps(Raised(error))
    except Exception as error:
        return pickle.dumps(Unreadable(f"{type(error).__name__}: {error}"))
    try:
        found = function(*args)
    except Exception as error:
        return _raised(error)
    try:
        return pickle.dumps(found, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        return pickle.dumps(Unreadable(f"{type(error).__name__}: {error}"))


def _raised(error: Exception) -> bytes:
    """The pickled error, or its text if it cannot be pickled or unpickled."""
    try:
        sent = pickle.dumps(Raised(error))
        pickle.loads(sent)
    except Exception:
        return pickle.dumps(Raised(RuntimeError(f"{type(error).__name__}: {error}")))
    return sent


def _send(pickled: bytes, pipe: IO[bytes]) -> None:
    """Send bytes within a pickle, so that an unreadable content does not break the stream."""
    pickle.dump(pickled, pipe)
    pipe.flush()
