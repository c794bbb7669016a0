"""Panels at fixed positions, in inches.

Matplotlib's constrained layout lays out all texts of a figure several times, which takes as long as drawing the figure
if it has many panels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grokplane.plot import headings, style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEAD = 0.1  # inches above the heading
BAR = 0.16  # width of the colour bar in inches
ENTRY = 0.24  # height of a line of the legend, in inches


@dataclass(frozen=True)
class Margins:
    """Margins in inches around the panels, for labels, legend and colour bar, and gaps between panels.

    Attributes:
        left, right, bottom: distances from the panels to the edges of the figure.
        top: distance from the panels to the heading.
        across: horizontal gap between panels.
        down: vertical gap between panels.
    """

    left: float
    right: float
    bottom: float
    top: float
    across: float = 0.0
    down: float = 0.0


@dataclass(frozen=True, eq=False)
class Grid:
    """A figure with its panels.

    Attributes:
        figure: the figure, with final positions.
        panels: array of axes [rows, columns].
        margins: requested margins; under a wide heading the left and right margins of the figure are larger.
    """

    figure: Figure
    panels: np.ndarray
    margins: Margins

    def bar_axes(self) -> Axes:
        """Axes for a colour bar to the right of all panels, vertically centred and at most five inches high."""
        width, height = self.figure.get_size_inches()
        low, high = self.margins.bottom, height * self.panels[0, 0].get_position().y1
        tall = min(high - low, 5.0)
        left = width * self.panels[0, -1].get_position().x1 + self.margins.right - _RIGHT_OF_BAR
        return self.figure.add_axes(
            (left / width, ((low + high - tall) / 2) / height, BAR / width, tall / height), label="<colorbar>"
        )


_RIGHT_OF_BAR = 1.2  # inches from the left edge of the bar to the end of the right margin, for ticks and label


def grid(
    rows: int,
    columns: int,
    size: tuple[float, float],
    margins: Margins,
    head: Sequence[str],
    *,
    least_width: float = 0.0,
    share_x: bool = False,
) -> Grid:
    """Make a figure of rows x columns panels under a heading.

    Args:
        rows: number of rows of panels.
        columns: number of columns of panels.
        size: width and height of a panel in inches.
        margins: margins around and between the panels.
        head: texts of the heading; each is wrapped, empty texts are left out.
        least_width: smallest width of the figure in inches; narrower panels are centred.
        share_x: whether all panels share one x axis; its tick labels are up to the caller.
    """
    from matplotlib.figure import Figure

    wide = margins.left + columns * size[0] + (columns - 1) * margins.across + margins.right
    width, left = max(wide, least_width), margins.left + max(0.0, least_width - wide) / 2
    lines = [line for text in head for line in headings.wrapped(text, width)]
    above = margins.top + (len(lines) * headings.LINE + HEAD if lines else 0)
    height = margins.bottom + rows * size[1] + (rows - 1) * margins.down + above
    figure = Figure(figsize=(width, height))
    made: np.ndarray[Any, Any] = np.empty((rows, columns), dtype=object)
    for row, column in np.ndindex(rows, columns):
        x = left + column * (size[0] + margins.across)
        y = height - above - size[1] - row * (size[1] + margins.down)
        shared = {"sharex": made[0, 0]} if share_x and (row or column) else {}
        place = (x / width, y / height, size[0] / width, size[1] / height)
        made[row, column] = axes = figure.add_axes(place, label=f"panel {row}, {column}", **shared)
        axes.tick_params(labelbottom=not share_x)
    look = {"va": "top", "fontsize": headings.SIZE, "parse_math": False}
    if lines:
        figure.suptitle("\n".join(lines), y=1 - HEAD / height, **look)
    return Grid(figure, made, margins)


def legend_below(figure: Figure, handles: Sequence[Artist], labels: Sequence[str], columns: int) -> None:
    """Draw a legend for all panels in the bottom margin; see `legend_height`."""
    legend = figure.legend(
        handles,
        labels,
        loc="lower center",
        bbox_to_anchor=(0.5, 0),
        ncols=columns,
        frameon=False,
        fontsize=style.FONT,
        borderaxespad=0.2,
    )
    for line in legend.get_lines():
        if line.get_linestyle() != "None":
            line.set_marker("")


def legend_height(entries: int, columns: int) -> float:
    """Height of a legend in inches, for a number of entries and columns."""
    return ENTRY * -(-entries // columns) + 0.1
