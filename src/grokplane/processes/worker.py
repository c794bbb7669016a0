"""One process that answers calls, and its side of the talk."""

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

DEAD = (EOFError, OSError, pickle.UnpicklingError)  # what asking a process raises that has died, or never lived
LOOK = 1.0  # seconds between looks at a process that works
HUNG = 60  # looks in which it has used no processor time: what it is asked is arithmetic, so it will never answer
END = 10.0  # seconds in which one that finds no more calls ends; one that has been stopped never does
_SERVE = "from grokplane.processes import serve; serve()"


class DiedError(RuntimeError):
    """A process ended while it worked: what it was asked is not known."""


@dataclass(frozen=True)
class Raised:
    """What the function raised."""

    error: Exception


@dataclass(frozen=True)
class Unreadable:
    """A call or an answer that cannot be sent; the process is as good as before."""

    reason: str


class Worker:
    """A Python process that answers calls, one after the other."""

    def __init__(self) -> None:
        modules = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _SERVE],  # -P: no file of the current folder is a module
            env=os.environ | {"PYTHONPATH": modules},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)  # see `_write`

    def ask(self, function: Callable[..., object], *args: Any) -> Any:
        """What the function returns, a `Raised` or an `Unreadable`; raises one of `DEAD` if the process is."""
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
        """Write a call as the process reads it: one that hangs reads no more than a pipe holds."""
        assert self._process.stdin is not None
        rest = memoryview(sent)
        while rest:
            try:
                rest = rest[os.write(self._process.stdin.fileno(), rest) :]
            except BlockingIOError:
                self._wait_for(self._process.stdin, selectors.EVENT_WRITE)

    def _wait_for(self, pipe: IO[bytes], event: int) -> None:
        """Raise EOFError if the process ends first, or hangs: what it started may hold its end of the pipe open."""
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
        """Processor time that it has used, as Linux tells it; None elsewhere, where a process that hangs is waited for.

        Looks are counted, not seconds: this process may have been stopped in between.
        """
        try:
            with open(f"/proc/{self._process.pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            return None
        return b" ".join(fields[11:13])  # utime and stime

    def lives(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def fate(self) -> str:
        """How it ended, in words; it has just been found dead."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        code = self._process.returncode
        if code is None:
            return "no longer answers"
        if code == -signal.SIGKILL:
            return "killed, as for want of memory"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def end(self, at_once: bool) -> None:
        """End it, at once or when it finds that no more calls come."""
        assert self._process.stdin is not None
        if at_once:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # its own session: with all that it started
        else:
            with contextlib.suppress(OSError):  # what a dead process did not read
                self._process.stdin.close()

    def wait(self) -> None:
        """Wait until it has ended, and let go of it."""
        try:
            self._process.wait(END)
        except subprocess.TimeoutExpired:
            self.end(at_once=True)
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what a killed process did not read
                    pipe.close()


class _Pickler(pickle.Pickler):
    """Writes tensors as arrays, which takes a quarter of the time that torch takes."""

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
    """Answer calls from standard input on standard output until the input ends: what a process does.

    Signals to stop are the parent's business. What a function prints goes to standard error, and it reads nothing.
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
    """The error, or its words where it cannot be sent or read again."""
    try:
        sent = pickle.dumps(Raised(error))
        pickle.loads(sent)
    except Exception:
        return pickle.dumps(Raised(RuntimeError(f"{type(error).__name__}: {error}")))
    return sent


def _send(pickled: bytes, pipe: IO[bytes]) -> None:
    """As bytes within a pickle, so that what cannot be read does not spoil what comes after it."""
    pickle.dump(pickled, pipe)
    pipe.flush()
