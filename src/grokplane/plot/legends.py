"""Legends beside or above a panel, so that they hide no data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grokplane.plot import style
from grokplane.plot.headings import inches

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

# In a narrower figure legends are above the panels. A figure drawn 4.7 inches wide and scaled to a 3.3 inch column has
# a font size of 7 points.
NARROW = 7.0
AROUND, KEY, ROW = 1.0, 0.5, 0.21  # inches: margin of the panels, legend key without text, row of entries
LIFT = 2 + 1.3 * style.FONT  # height of a line of text above a panel, in points


def legend(figure: Figure, axes: Axes, *, below: int = 0) -> None:
    """Draw the legend of a panel to its right or, in a narrow figure, above it; then the figure gets higher.

    Args:
        figure: the figure.
        axes: the panel.
        below: number of lines of text between the panel and a legend above it.
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
    """Axes coordinates of the panel, shifted up by a number of points."""
    from matplotlib.transforms import ScaledTranslation

    return axes.transAxes + ScaledTranslation(0, points / 72, figure.dpi_scale_trans)
