"""Progress lines for operations that take long. This module is below all packages and cheap to import.

On a terminal a line below all others is updated every second. Elsewhere a line is written after two seconds without
output. Later the interval grows to a tenth of the elapsed time, at most a minute: about a hundred lines in an hour.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import Any

PATIENCE, LONGEST = 2.0, 60.0  # seconds without a line
BEAT = 0.5  # seconds between checks
# Patience for operations before a call may be refused. A refusal is a single line, which scripts read from a pipe.
BEFORE_REFUSALS = 20.0
_SHARE = 0.1

_stack: list[Doing] = []
_lock = threading.RLock()
_thread: threading.Thread | None = None
_last = _started = time.monotonic()  # time of the last output, and start of the first operation


class Doing:
    """A block during which an operation is reported as in progress; blocks may be nested.

    Args:
        what: description of the operation, in ASCII.
        patience: seconds of silence before the first line if standard error is not a terminal.
    """

    def __init__(self, what: str, patience: float = PATIENCE) -> None:
        self._what, self._patience, self._began = what, patience, time.monotonic()
        self._shown: Any = None

    def __enter__(self) -> Any:
        self._began = time.monotonic()
        with _lock:
            if not _stack:
                _begin()
            _stack.append(self)
        _beat_on()
        return self

    def __exit__(self, *_: object) -> None:
        with _lock:
            _stack.remove(self)
            self.clear()

    def beat(self) -> None:
        """Report the operation if it is time; called from a separate thread."""
        if self._shown is None and not due():
            return
        gone = time.monotonic() - self._began
        if not on_terminal():
            if gone >= self._patience - BEAT:
                tell(f"{self._what} ({gone:.0f} s)")
            return
        if self._shown is None:
            from tqdm import tqdm

            self._shown = tqdm(total=0, bar_format="{desc} {elapsed}", desc=self._what, leave=False)
        self._shown.refresh()

    def clear(self) -> None:
        """Remove the line from the terminal."""
        if self._shown is not None:
            self._shown.close()
            self._shown = None


def on_terminal() -> bool:
    """Whether standard error is a terminal."""
    with contextlib.suppress(AttributeError, ValueError):
        return sys.stderr.isatty()
    return False


def tell(line: str) -> None:
    """Write a line to standard error; a missing reader is no error."""
    spoken()
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def spoken() -> None:
    """Record that a line has been written."""
    global _last
    _last = time.monotonic()


def due() -> bool:
    """Whether the last output is too long ago."""
    now = time.monotonic()
    return now - _last >= min(LONGEST, max(PATIENCE - BEAT, _SHARE * (now - _started)))


def _begin() -> None:
    global _last, _started
    _last = _started = time.monotonic()


def _beat_on() -> None:
    """Start the thread if there is none; a forked process has none."""
    global _thread
    if _thread is None or not _thread.is_alive():
        _thread = threading.Thread(target=_beats, name="waiting", daemon=True)
        _thread.start()


def _beats() -> None:
    while True:
        time.sleep(BEAT)
        with _lock:
            if not _stack:
                return
            with contextlib.suppress(OSError, ValueError):  # standard error has been closed
                _stack[-1].beat()
