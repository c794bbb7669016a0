"""Lines for whoever started a call, all said here: nothing is lost, and nothing said can steer a terminal.

A reader that went away (`| head`, a log pipe that died) must not cost a run. On the floor below all rooms.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from typing import TextIO

from grokplane.waiting import spoken

# What a terminal takes as a command (escape sequences, a carriage return) or shows in another order than it stands.
_COMMANDS = [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_ESCAPED = {code: ascii(chr(code))[1:-1] for code in _COMMANDS if chr(code) not in "\n\t"}


def say(line: object) -> bool:
    """A line on standard output; False where it could not be written, as on a full disk, which is noted."""
    why = _write(sys.stdout, line)
    if why is not None:
        note(f"standard output cannot be written ({why})")
    return why is None


def note(line: object) -> None:
    """A line on standard error."""
    _write(sys.stderr, line)


def printable(text: str) -> str:
    r"""The text with characters that steer a terminal as their escapes, \x1b; a file or a config may hold any."""
    return text.translate(_ESCAPED)


class Lines(logging.Formatter):
    """Log lines as `printable` text: they name files and tell of configs."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line, and its traceback if it has one."""
        return printable(super().format(record))


def open_streams() -> None:
    """Make standard output and error fit to be written to, at a program's start.

    Where the process was started without one, what is written there goes nowhere, and the next file that is opened
    does not take its place. What their encoding cannot hold is written as an escape.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (for as long as the process lives)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _write(stream: TextIO, line: object) -> str | None:
    """Write a line; why that failed, None where it did not or where the reader went away."""
    spoken()
    try:
        print(printable(str(line)), file=stream, flush=True)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):  # so that Python's own flush at the end does not fail either
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error.strerror if isinstance(error, OSError) and not isinstance(error, BrokenPipeError) else None
    return None
