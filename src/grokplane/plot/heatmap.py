"""A heat map of cells over two parameters, in which cells without a value are drawn as named regions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grokplane.plot import style
from grokplane.plot.cells import Cells, medians
from grokplane.plot.headings import heading
from grokplane.plot.legends import NARROW
from grokplane.plot.regions import REGIONS, Outcome, Region
from grokplane.plot.scales import Scale, scale
from grokplane.plot.settings import check_one_setting

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import Collection
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 12.0, 5.6  # inches
FULL = 0.5  # a grid with a smaller share of occupied cells is drawn as points
ENTRY = 1.7  # width of an entry of the legend in inches
POINT = 70  # area of a marker in square points


@dataclass(frozen=True, eq=False)
class Plane:
    """Two parameters as axes, and the position of each row.

    Attributes:
        x: scale of the horizontal axis.
        y: scale of the vertical axis.
        rows: for each axis, the index of each row's value [rows].
        full: whether the rows form a grid; otherwise (a random search) cells are drawn as points.
    """

    x: Scale
    y: Scale
    rows: tuple[np.ndarray, np.ndarray]
    full: bool

    def cells(self, outcome: Outcome) -> Cells:
        """Medians of the cells; their keys are the indices of their values on x and y."""
        return medians(outcome, *self.rows)


def plane(frame: pd.DataFrame, x: str, y: str) -> Plane:
    """Make the plane of two parameters.

    Args:
        frame: one row per run.
        x: column of the horizontal axis.
        y: column of the vertical axis.

    Raises:
        ValueError: if runs differ in more than these two parameters and the seed.
    """
    check_one_setting(frame, (x, y))
    scales = [scale(key, list(frame[key]), cells=True) for key in (x, y)]
    rows = [one.number(list(frame[one.key])) for one in scales]
    full = len(set(zip(*rows, strict=True))) >= FULL * len(scales[0].labels) * len(scales[1].labels)
    if not full:
        scales = [scale(key, list(frame[key])) for key in (x, y)]
    return Plane(scales[0], scales[1], (rows[0], rows[1]), full)


def panels(over: Plane, title: str, width: float = WIDTH, count: int = 2) -> tuple[Figure, Sequence[Axes]]:
    """Make a figure with panels that have the axes of the plane; in a narrow figure they are stacked vertically."""
    from matplotlib.figure import Figure

    beside = width >= NARROW
    high = HEIGHT if beside else 0.85 * count * width
    figure = Figure(figsize=(width, high), layout="constrained")
    shape = (1, count) if beside else (count, 1)
    drawn: Sequence[Axes] = figure.subplots(*shape, squeeze=False).ravel().tolist()
    for axes in drawn:
        over.x.dress(axes, "x")
        over.y.dress(axes, "y")
        axes.tick_params(labelsize=style.FONT)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in drawn[1:] if beside else ():
        axes.set_ylabel("")
    heading(figure, title)
    return figure, drawn


def paint(axes: Axes, over: Plane, cells: Cells, colors: tuple[Colormap, Normalize]) -> ScalarMappable:
    """Colour every cell by its value or its region.

    Args:
        axes: a panel of `panels`.
        over: the plane.
        cells: cells from `Plane.cells`.
        colors: colour map and norm of the values.

    Returns:
        The mappable for a colour bar.
    """
    fill(axes, over, cells.keys, cells.region, REGIONS)
    known, (cmap, norm) = np.isfinite(cells.value), colors
    mapped = _draw(axes, over, cells.keys[known], label="values", edgecolor="white")
    mapped.set(cmap=cmap, norm=norm, array=cells.value[known])
    return mapped


def fill(axes: Axes, over: Plane, keys: np.ndarray, names: np.ndarray, looks: Mapping[str, Region]) -> None:
    """Draw every cell whose name has a style.

    Args:
        axes: a panel of `panels`.
        over: the plane.
        keys: indices of the cells' values on x and y [cells, 2].
        names: names of the cells [cells].
        looks: styles by name.
    """
    for name, look in looks.items():
        there = keys[names == name]
        if len(there):
            _draw(axes, over, there, label=name, facecolor=look.color, hatch=look.hatch, edgecolor=look.lines)
    if over.full:
        axes.set_xlim(*over.x.edges()[[0, -1]].tolist())
        axes.set_ylim(*over.y.edges()[[0, -1]].tolist())


def note_shares(axes: Axes, over: Plane, keys: np.ndarray, counts: Sequence[tuple[int, int]], what: str) -> str:
    """Write k/n into every cell of which only k of n runs agree; return a note about the seeds, "" for one seed each.

    Args:
        axes: a panel of `panels`.
        over: the plane.
        keys: indices of the cells' values on x and y [cells, 2].
        counts: k and n of each cell; a cell with k = n has no text.
        what: what the k runs have done, for the note.
    """
    mixed = [(i, j, k, n) for (i, j), (k, n) in zip(keys.tolist(), counts, strict=True) if k < n]
    for i, j, k, n in mixed:
        _write(axes, float(over.x.places[i]), float(over.y.places[j]), f"{k}/{n}")
    few, many = min(n for _, n in counts), max(n for _, n in counts)
    if many == 1:
        return ""
    return f"{few if few == many else f'{few} to {many}'} runs a cell" + f"; k/n: only k of its n {what}" * bool(mixed)


def bar(figure: Figure, mapped: ScalarMappable, axes: Axes) -> None:
    """Draw a colour bar beside a panel, unless the panel has no values."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import LogLocator, NullFormatter

    values = mapped.get_array()
    if values is None or not values.size:
        return
    drawn = figure.colorbar(mapped, ax=axes, pad=0.02)
    drawn.ax.tick_params(labelsize=style.FONT)
    if isinstance(mapped.norm, LogNorm):
        low, high = drawn.ax.get_ylim()
        drawn.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
        drawn.ax.yaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
        drawn.ax.yaxis.set_minor_formatter(NullFormatter())


def legend(figure: Figure, shown: Iterable[str], title: str, looks: Mapping[str, Region] = REGIONS) -> None:
    """Draw a legend of the regions, or other styles, that occur, below the panels."""
    from matplotlib.patches import Patch

    names = [name for name in looks if name in set(shown)]
    if not names and not title:
        return
    figure.legend(
        handles=[
            Patch(facecolor=look.color, hatch=look.hatch, edgecolor=look.lines, linewidth=0.6, label=name)
            for name, look in ((name, looks[name]) for name in names)
        ],
        loc="outside lower center",
        ncols=max(1, min(len(names), int(figure.get_figwidth() / ENTRY)) if figure.get_figwidth() >= NARROW else 2),
        frameon=False,
        fontsize=style.FONT,
        title=title,
        title_fontsize=style.FONT,
    )


def _draw(axes: Axes, over: Plane, keys: np.ndarray, **look: Any) -> Collection:
    return (_squares if over.full else _points)(axes, over, keys, **look)


def _write(axes: Axes, x: float, y: float, words: str) -> None:
    """Write small text in the centre of a cell, readable on dark and light colours."""
    from matplotlib.patheffects import withStroke

    drawn = axes.text(x, y, words, ha="center", va="center", fontsize=style.FONT - 2)
    drawn.set_path_effects([withStroke(linewidth=2, foreground="white")])


def _squares(axes: Axes, over: Plane, keys: np.ndarray, **look: Any) -> Collection:
    """Draw a rectangle per cell in data coordinates."""
    from matplotlib.collections import PolyCollection

    x, y = over.x.edges(), over.y.edges()
    corners = [[(x[i], y[j]), (x[i + 1], y[j]), (x[i + 1], y[j + 1]), (x[i], y[j + 1])] for i, j in keys]
    squares = PolyCollection(corners, linewidth=0.5, **look)
    axes.add_collection(squares, autolim=False)
    return squares


def _points(axes: Axes, over: Plane, keys: np.ndarray, **look: Any) -> Collection:
    """Draw a square marker of fixed size per cell."""
    x, y = over.x.places[keys[:, 0]], over.y.places[keys[:, 1]]
    return axes.scatter(x, y, POINT, marker="s", linewidth=0.6, **look)
