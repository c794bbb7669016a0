"""Figures as files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG of 150 dots per inch that appears at `path` whole or not at all.

    The folder is made if it is missing; a file already at `path` is replaced.

    Raises:
        OSError: if the folder or the file cannot be written; what stood at `path` is still there.
    """
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=DPI)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A binary file that appears at `path` only when the block ends well; errors: see `save`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
