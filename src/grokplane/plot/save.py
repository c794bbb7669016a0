"""Figures as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from grokplane.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG of 150 dots per inch that appears at `path` whole or not at all.

    The folder is made if it is missing; a file already at `path` is replaced.

    Raises:
        OSError: if the folder or the file cannot be written; what stood at `path` is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=DPI)
