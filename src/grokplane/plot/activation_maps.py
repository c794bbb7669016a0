"""Activations of units over both operands, at a few log points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from grokplane.plot import style
from grokplane.plot.grid import Margins, grid
from grokplane.plot.recorded import Arrays, Recorded, mark_line, named, stages

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE, LEFT, DOWN = 0.95, 1.05, 0.24  # inches: a panel, left of the panels, between rows
COLORS = "viridis"
NOTE = "activations over a (down) and b (to the right), dark to bright; numbers: the largest activation of the panel"


def activation_maps(arrays: Arrays, *, marks: Mapping[str, int | None] | None = None, title: str = "") -> Figure:
    """Activations over (a, b): a column for each unit, a row for the start, the marks and the end, by layer.

    The rows of marks show the first log points at or after them. Elements that are in no question are left out, and
    cells without a value are white. Colours of a panel reach from its smallest to its largest value.

    Args:
        arrays: `maps/<layer>` [T, units, n, n] and `map_units/<layer>` [T, units], of the metric `activation_maps`.
        marks: as for `curves`.
        title: title above the panels.

    Raises:
        ValueError: if no maps were recorded.
    """
    maps = named(arrays, "maps")
    shown = stages(next(iter(maps.values())).steps, marks or {})
    most = max(one.values.shape[1] for one in maps.values())
    margins = Margins(LEFT, 0.15, 0.15, 0.5, 0.08, DOWN)
    head = [title, mark_line(marks or {}), NOTE]
    frame = grid(len(maps) * len(shown), most, (SIDE, SIDE), margins, head, least_width=7.0)
    for axes in frame.panels.flat:
        axes.set_axis_off()
    for block, (layer, one) in zip(np.split(frame.panels, len(maps)), maps.items(), strict=True):
        _block(block, one, shown, [int(unit) for unit in arrays[f"map_units/{layer}"].values[0]], layer)
    return frame.figure


def _block(panels: np.ndarray, maps: Recorded, shown: Mapping[int, str], units: list[int], layer: str) -> None:
    """Draw the maps of one layer."""
    there = np.isfinite(maps.values)
    kept = np.ix_(np.flatnonzero(there.any((0, 1, 3))), np.flatnonzero(there.any((0, 1, 2))))
    for row, (index, words) in enumerate(shown.items()):
        for column, unit in enumerate(units):
            above = f"unit {unit}: " if row == 0 else ""
            _map(panels[row, column], maps.values[index, column][kept], above)
        _beside(panels[row, 0], f"{layer}\n{words}")


def _map(axes: Axes, values: np.ndarray, above: str) -> None:
    """Draw one map, with its largest value in the title."""
    shown = np.ma.masked_invalid(values)
    axes.imshow(shown, cmap=COLORS, interpolation="nearest", aspect="auto")
    largest = f"{shown.max():.3g}" if shown.count() else "no value"
    axes.set_title(f"{above}{largest}", fontsize=style.FONT - 2, pad=2)


def _beside(axes: Axes, words: str) -> None:
    look = {"ha": "right", "va": "center", "fontsize": style.FONT - 1, "parse_math": False}
    axes.text(-0.1, 0.5, words, transform=axes.transAxes, **look)
