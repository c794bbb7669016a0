"""Atomic files: written to a temporary file, flushed to disk, then renamed.

This module is below all packages.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".tmp"


@contextmanager
def atomic_file(path: Path, shared: bool = False) -> Iterator[BinaryIO]:
    """A binary file that replaces `path` only if the block ends without an exception.

    Args:
        path: the file's path; its folder must exist.
        shared: whether other processes may write the same path. If not, the folder's lock prevents that.
    """
    temporary = path.with_name(f"{path.name}{f'.{os.getpid()}' if shared else ''}{TEMPORARY}")
    temporary.unlink(missing_ok=True)  # a leftover of a crash, or a link to another place
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make changes of a folder's entries (created, renamed, deleted files) survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_file(path) as file:
        file.write(text.encode())
