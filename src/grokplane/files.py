"""Files that are whole at every moment: written beside their place, flushed to disk, then renamed into it.

On the floor below all rooms.
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
    """A binary file that appears at `path` only when the block ends well; an exception leaves `path` as it was.

    Args:
        path: where it is to be; the folder is there.
        shared: other processes may write the same path; else the folder's lock sees to it that none does.
    """
    temporary = path.with_name(f"{path.name}{f'.{os.getpid()}' if shared else ''}{TEMPORARY}")
    temporary.unlink(missing_ok=True)  # left by a crash, or a link to somewhere else
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
    """Make a folder's names (created, renamed, deleted files) survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_file(path) as file:
        file.write(text.encode())
