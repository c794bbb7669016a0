"""A heat map of cells over two parameters, in which cells without a value are drawn as named regions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grokplane.plot import style
from grokplane.plot.cells import Cells, medians
from grokplane.plot.headings import heading
from grokplane.plot.legends import NARROW
from grokplane.plot.regions import REGIONS, Outcome
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


def panels(over: Plane, title: str, width: float = WIDTH) -> tuple[Figure, Sequence[Axes]]:
    """Make a figure with two panels that have the axes of the plane; in a narrow figure they are stacked vertically."""
    from matplotlib.figure import Figure

    beside = width >= NARROW
    high = HEIGHT if beside else 1.7 * width
    figure = Figure(figsize=(width, high), layout="constrained")
    pair = figure.subplots(1, 2) if beside else figure.subplots(2, 1)
    for axes in pair:
        over.x.dress(axes, "x")
        over.y.dress(axes, "y")
        axes.tick_params(labelsize=style.FONT)
        axes.spines[["top", "right"]].set_visible(False)
    if beside:
        pair[1].set_ylabel("")
    heading(figure, title)
    return figure, pair


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
    draw = _squares if over.full else _points
    for name, region in REGIONS.items():
        there = cells.keys[cells.region == name]
        if len(there):
            draw(axes, over, there, label=name, facecolor=region.color, hatch=region.hatch, edgecolor=region.lines)
    known, (cmap, norm) = np.isfinite(cells.value), colors
    mapped = draw(axes, over, cells.keys[known], label="values", edgecolor="white")
    mapped.set(cmap=cmap, norm=norm, array=cells.value[known])
    if over.full:
        axes.set_xlim(*over.x.edges()[[0, -1]].tolist())
        axes.set_ylim(*over.y.edges()[[0, -1]].tolist())
    return mapped


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


def legend(figure: Figure, shown: Iterable[str], title: str) -> None:
    """Draw a legend of the regions that occur, below the panels."""
    from matplotlib.patches import Patch

    names = [name for name in REGIONS if name in set(shown)]
    if not names and not title:
        return
    looks = {name: REGIONS[name] for name in names}
    figure.legend(
        handles=[
            Patch(facecolor=look.color, hatch=look.hatch, edgecolor=look.lines, linewidth=0.6, label=name)
            for name, look in looks.items()
        ],
        loc="outside lower center",
        ncols=max(1, len(names) if figure.get_figwidth() >= NARROW else 2),
        frameon=False,
        fontsize=style.FONT,
        title=title,
        title_fontsize=style.FONT,
    )


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
