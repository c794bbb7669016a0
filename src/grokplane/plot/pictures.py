"""The table of a run's figures: a new figure is one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from grokplane.plot.accuracy import information_accuracy
from grokplane.plot.animation import plane_animation
from grokplane.plot.curves import curves
from grokplane.plot.information import INPUT, LABEL, has_information
from grokplane.plot.map import has_map, information_map
from grokplane.plot.norms import weight_norms
from grokplane.plot.plane import information_planes
from grokplane.plot.save import save_all
from grokplane.plot.titles import About

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure in the folder `figures/` of a run.

    Attributes:
        name: file name without suffix.
        reads: prefixes of the columns that the figure needs.
        filled: whether a frame has values for the figure.
        write: draws the frame, writes it to a folder in each of the formats, and returns the files.
    """

    name: str
    reads: tuple[str, ...]
    filled: Callable[[pd.DataFrame], bool]
    write: Callable[[pd.DataFrame, About, Path, Sequence[str]], list[Path]]


def _still(
    name: str, reads: tuple[str, ...], filled: Callable[[pd.DataFrame], bool], draw: Callable[..., Figure]
) -> Picture:
    def write(rows: pd.DataFrame, facts: About, folder: Path, formats: Sequence[str]) -> list[Path]:
        return save_all(draw(rows, facts), folder, name, formats)

    return Picture(name, reads, filled, write)


def _curves(rows: pd.DataFrame, facts: About) -> Figure:
    return curves(rows, marks=facts.marks, threshold=facts.threshold, title=facts.title)


def _planes(rows: pd.DataFrame, facts: About) -> Figure:
    return information_planes(rows, title=facts.title)


def _map(rows: pd.DataFrame, facts: About, subset: str = "eval") -> Figure:
    return information_map(rows, subset, marks=facts.marks, title=facts.title)


def _accuracy(rows: pd.DataFrame, facts: About) -> Figure:
    return information_accuracy(rows, marks=facts.marks, title=facts.title)


def _norms(rows: pd.DataFrame, facts: About) -> Figure:
    return weight_norms(rows, marks=facts.marks, title=facts.title)


def _film(rows: pd.DataFrame, facts: About, folder: Path, formats: Sequence[str]) -> list[Path]:  # noqa: ARG001 (always a GIF)
    path = folder / "information_plane.gif"
    plane_animation(rows, path, title=facts.title)
    return [path]


def _any(prefix: str) -> Callable[[pd.DataFrame], bool]:
    return lambda rows: any(str(name).startswith(prefix) for name in rows.columns)


def _known(*subsets: str, quantities: Sequence[str] = (INPUT, LABEL)) -> Callable[[pd.DataFrame], bool]:
    return lambda rows: has_information(rows, subsets, quantities)


INFORMATION = ("MI(", "H(X)_", "H(Y)_", "ln n_")
PICTURES = (
    _still("curves", ("Acc/", "Loss/", "WN/"), _any("Acc/"), _curves),
    _still("information_plane", INFORMATION, _known("train", "eval"), _planes),
    _still("information_map", (*INFORMATION, "H(a)_"), has_map, _map),
    _still("information_map_ood", (*INFORMATION, "H(a)_"), partial(has_map, subset="ood"), partial(_map, subset="ood")),
    _still("information_accuracy", (*INFORMATION, "Acc/"), _known("eval", quantities=(INPUT,)), _accuracy),
    _still("weight_norms", ("WN/",), _any("WN/"), _norms),
    Picture("information_plane", INFORMATION, _known("eval"), _film),
)
READS = tuple({prefix: None for picture in PICTURES for prefix in picture.reads})


def pictures(rows: pd.DataFrame) -> Iterator[Picture]:
    """The figures for which a frame has values; `READS` has the prefixes of all columns that figures use."""
    return (picture for picture in PICTURES if picture.filled(rows))
