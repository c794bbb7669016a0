"""What is being done, for whoever waits: silence never lasts. On the floor below all rooms, and light to import.

On a terminal a line that stands below all others is renewed every second. Elsewhere a line is written wherever none has
been for two seconds, in the long run for a tenth of the time gone, at most a minute: an hour leaves a hundred lines.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import Any

PATIENCE, LONGEST = 2.0, 60.0  # seconds without a line
BEAT = 0.5  # seconds between looks at whether somebody waits
# Seconds for what is done before a call may be refused: that is one line, which scripts read from a pipe.
BEFORE_REFUSALS = 20.0
_SHARE = 0.1

_stack: list[Doing] = []
_lock = threading.RLock()
_thread: threading.Thread | None = None
_last = _started = time.monotonic()  # when something was last said, and when the first thing began


class Doing:
    """Within its block this is what is being done; blocks may lie in each other.

    Args:
        what: in words that any terminal can show.
        patience: seconds of silence before the first line where standard error is no terminal.
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
        """Say what is being done if it is time to; called from a thread of its own."""
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
        """Take the line from the terminal."""
        if self._shown is not None:
            self._shown.close()
            self._shown = None


def on_terminal() -> bool:
    """Whether standard error is one."""
    with contextlib.suppress(AttributeError, ValueError):
        return sys.stderr.isatty()
    return False


def tell(line: str) -> None:
    """A line on standard error; nobody may be there to read it."""
    spoken()
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def spoken() -> None:
    """Note that somebody has said something."""
    global _last
    _last = time.monotonic()


def due() -> bool:
    """Whether nothing has been said for too long."""
    now = time.monotonic()
    return now - _last >= min(LONGEST, max(PATIENCE - BEAT, _SHARE * (now - _started)))


def _begin() -> None:
    global _last, _started
    _last = _started = time.monotonic()


def _beat_on() -> None:
    """Have a thread; a process that was forked has none."""
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
            with contextlib.suppress(OSError, ValueError):  # of a stream that has been closed
                _stack[-1].beat()
