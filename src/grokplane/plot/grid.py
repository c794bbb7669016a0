"""Panels at fixed places, in inches.

Matplotlib's constrained layout finds places by laying out all texts of a figure several times over, which for a figure
of many panels takes as long again as drawing it.
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
BAR_GAP, BAR = 0.2, 0.16  # inches between the panels and the colour bar, and its width
ENTRY = 0.24  # inches, a line of the legend


@dataclass(frozen=True)
class Margins:
    """Inches beside the panels, for labels, legend and colour bar, and between two of them.

    Attributes:
        left, right, bottom: from the panels to the figure's edges.
        top: from the panels to the heading.
        across: between neighbours.
        down: between a panel and the one below it.
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
        figure: the figure; nothing moves on it any more.
        panels: [rows, columns] of axes.
        margins: as they are: a narrow figure under a wide heading has more to its left and right.
    """

    figure: Figure
    panels: np.ndarray
    margins: Margins

    def bar_axes(self) -> Axes:
        """Axes for a colour bar to the right of all panels, at most five inches high, in the middle."""
        width, height = self.figure.get_size_inches()
        low, high = self.margins.bottom, height * self.panels[0, 0].get_position().y1
        tall = min(high - low, 5.0)
        left = width * self.panels[0, -1].get_position().x1 + self.margins.right - _RIGHT_OF_BAR
        return self.figure.add_axes(
            (left / width, ((low + high - tall) / 2) / height, BAR / width, tall / height), label="<colorbar>"
        )


_RIGHT_OF_BAR = 1.2  # inches from the bar's left edge to the end of the right margin: ticks and label


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
    """A figure of rows x columns panels under a heading.

    Args:
        rows: of panels.
        columns: of panels.
        size: a panel's width and height in inches.
        margins: around and between the panels.
        head: the heading's texts; each is wrapped, empty ones are left out.
        least_width: of the figure in inches; panels then stand in the middle.
        share_x: whether all panels have one x axis; its tick labels are left to the caller.
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
    """A legend for all panels in the bottom margin; see `legend_height`."""
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
    """Inches that a legend of so many entries takes."""
    return ENTRY * -(-entries // columns) + 0.1
