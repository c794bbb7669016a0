"""Writing of figures to files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokplane.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150
# Stronger compression saves a sixth of the size of a PNG of an information figure, but takes up to 80 ms longer.
QUICKLY = {"compress_level": 2}


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure atomically, in the format given by the suffix of `path`.

    PNG has 150 dots per inch; PDF and SVG are vector graphics with rasterised heat maps. A missing folder is created;
    an existing file is replaced.

    Args:
        figure: the figure.
        path: path with the suffix of one of matplotlib's formats, in lower or upper case.

    Raises:
        OSError: if the folder or the file cannot be written; an existing file is unchanged.
        ValueError: if the suffix is missing or unknown; the message lists the known suffixes.
    """
    path, formats = Path(path).expanduser(), sorted(figure.canvas.get_supported_filetypes())
    kind = path.suffix.removeprefix(".").lower()
    if kind not in formats:
        raise ValueError(f"{path}: must end in one of {', '.join(f'.{one}' for one in formats)}")
    settings: dict[str, Any] = {"pil_kwargs": QUICKLY} if kind == "png" else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        # Pass the name of the open file, because some formats are written as text.
        figure.savefig(file.name, format=kind, dpi=DPI, **settings)


def save_all(figure: Figure, folder: str | Path, name: str, formats: Sequence[str]) -> list[Path]:
    """Write a figure once per format as `NAME.FORMAT` and return the files. Errors: see `save`."""
    paths = [Path(folder) / f"{name}.{one}" for one in dict.fromkeys(formats)]
    for path in paths:
        save(figure, path)
    return paths
