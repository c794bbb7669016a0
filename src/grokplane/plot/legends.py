"""Legends beside or above a panel, where they hide no data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grokplane.plot import style
from grokplane.plot.headings import inches

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

# A narrower figure has its legends above its panels. Drawn 4.7 inches wide and shrunk to a paper's column of 3.3, a
# figure's letters have 7 points.
NARROW = 7.0
AROUND, KEY, ROW = 1.0, 0.5, 0.21  # inches: beside the panels, of an entry beside its text, of a row of entries
LIFT = 2 + 1.3 * style.FONT  # points that a line of text above a panel takes


def legend(figure: Figure, axes: Axes, *, below: int = 0) -> None:
    """The legend of a panel: to its right, or above it, on a figure so much higher, where that is narrow.

    Args:
        figure: the figure.
        axes: the panel.
        below: lines of text that stand between the panel and a legend above it.
    """
    width = figure.get_figwidth()
    handles, labels = axes.get_legend_handles_labels()
    longest = max((inches(label, style.FONT) for label in labels), default=0.0)
    look = {"frameon": False, "fontsize": style.FONT, "borderpad": 0}
    if width >= NARROW and longest < width / 4:
        columns = 1 if len(labels) <= 10 else 2
        drawn = axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.0), ncols=columns, **look)
    else:
        columns = max(1, int((width - AROUND) / (longest + KEY)))
        place = {
            "loc": "lower left",
            "bbox_to_anchor": (0.0, 1.0),
            "bbox_transform": _lifted(figure, axes, below * LIFT),
        }
        drawn = axes.legend(handles, labels, ncols=columns, columnspacing=1.0, handlelength=1.5, **place, **look)
        figure.set_figheight(figure.get_figheight() + ROW * -(-len(labels) // columns))
    for line in drawn.get_lines():
        line.set_marker("")


def _lifted(figure: Figure, axes: Axes, points: float) -> Transform:
    """The panel's coordinates, so many points higher."""
    from matplotlib.transforms import ScaledTranslation

    return axes.transAxes + ScaledTranslation(0, points / 72, figure.dpi_scale_trans)
