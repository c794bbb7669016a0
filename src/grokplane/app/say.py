"""Lines for whoever started a call; a reader that went away (`| head`, a log pipe that died) must not cost a run."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

from grokplane.waiting import spoken


def say(line: object) -> None:
    """A line on standard output."""
    _write(sys.stdout, line)


def note(line: object) -> None:
    """A line on standard error."""
    _write(sys.stderr, line)


def reopen_closed() -> None:
    """Give a process that was started without standard output or standard error nowhere to write to, in their place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (for as long as the process lives)


def _write(stream: TextIO, line: object) -> None:
    spoken()
    try:
        print(line, file=stream, flush=True)
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):  # so that Python's own flush at the end does not fail either
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
