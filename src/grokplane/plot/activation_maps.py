"""Activations of units over both operands, at a few log points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from grokplane.plot import style
from grokplane.plot.grid import Margins, grid
from grokplane.plot.recorded import Arrays, Recorded, mark_ends, named, stages

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE, LEFT, BLOCK = 0.95, 1.05, 0.45  # inches: a panel, left of the panels, above the rows of a layer
COLORS = "viridis"
NOTE = "activation of a unit at (a, b), a down and b to the right; each panel from its smallest to its largest value"


def activation_maps(arrays: Arrays, *, marks: Mapping[str, int | None] | None = None, title: str = "") -> Figure:
    """Activations over (a, b): a column for each unit, a row for the start, the marks and the end, by layer.

    The rows show the log points nearest to the marks. Elements that are in no question are left out, and cells
    without a value are white. A panel with a single value has the darkest colour.

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
    margins = Margins(LEFT, 0.15, 0.15, BLOCK, 0.08, 0.08)
    head = [title, mark_ends(marks or {}), NOTE]
    rows = len(maps) * (len(shown) + 1) - 1  # an empty row between layers
    frame = grid(rows, most, (SIDE, SIDE), margins, head, least_width=7.0)
    for axes in frame.panels.flat:
        axes.set_axis_off()
    for number, (layer, one) in enumerate(maps.items()):
        first = number * (len(shown) + 1)
        block = frame.panels[first : first + len(shown)]
        _block(block, one, shown, [int(unit) for unit in arrays[f"map_units/{layer}"].values[0]], layer)
    return frame.figure


def _block(panels: np.ndarray, maps: Recorded, shown: Mapping[int, str], units: list[int], layer: str) -> None:
    """Draw the maps of one layer."""
    there = np.isfinite(maps.values).any((0, 1))
    kept = np.ix_(there.any(1), there.any(0))
    for row, (index, words) in enumerate(shown.items()):
        for column, unit in enumerate(units):
            _map(panels[row, column], maps.values[index, column][kept])
            if row == 0:
                panels[row, column].set_title(f"unit {unit}", fontsize=style.FONT - 1, pad=3)
        look = {"ha": "right", "va": "center", "fontsize": style.FONT - 1, "parse_math": False}
        panels[row, 0].text(-0.1, 0.5, words, transform=panels[row, 0].transAxes, **look)
    look = {"ha": "right", "va": "bottom", "fontsize": style.FONT, "weight": "bold", "parse_math": False}
    panels[0, 0].text(-0.1, 1.04, layer, transform=panels[0, 0].transAxes, **look)


def _map(axes: Axes, values: np.ndarray) -> None:
    finite = np.where(np.isfinite(values), values, np.nan)
    axes.imshow(np.ma.masked_invalid(finite), cmap=COLORS, interpolation="nearest", aspect="auto")
