"""Output of a command: all lines for the user are written here, with control characters escaped.

A reader that has gone away (`| head`, a broken log pipe) must not end a run. This module is below all packages.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import TextIO

from grokplane.waiting import spoken

# Characters that a terminal interprets (escape sequences, carriage return) or displays in another order.
_COMMANDS = [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_ESCAPED = {code: ascii(chr(code))[1:-1] for code in _COMMANDS if chr(code) not in "\n\t"}


def say(line: object) -> bool:
    """Write a line to standard output; return False if that fails, as on a full disk, and say so on standard error."""
    why = _write(sys.stdout, line)
    if why is not None:
        note(f"standard output cannot be written ({why})")
    return why is None


def note(line: object) -> None:
    """Write a line to standard error."""
    _write(sys.stderr, line)


def printable(text: str) -> str:
    r"""The text with control characters as escapes, \x1b; the text may come from a file or a config."""
    return text.translate(_ESCAPED)


def format_table(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """Rows of text as columns two spaces apart, each column flush right or left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(row, widths, right, strict=True)
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


class Lines(logging.Formatter):
    """Log lines as `printable` text, because they contain file names and config values."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line, and its traceback if there is one."""
        return printable(super().format(record))


def open_streams() -> None:
    """Make standard output and error writable at a program's start.

    If the process was started without a stream, its output is discarded, and the next file that is opened does not get
    its descriptor. Characters that the encoding cannot represent are written as escapes.
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
    """Write a line; return the reason of a failure. None on success, and if the reader has gone away."""
    spoken()
    try:
        print(printable(str(line)), file=stream, flush=True)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):  # so that Python's own flush at exit does not fail either
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error.strerror if isinstance(error, OSError) and not isinstance(error, BrokenPipeError) else None
    return None
