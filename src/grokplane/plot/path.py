"""Drawing of a layer's trajectory on the information plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grokplane.plot import style
from grokplane.plot.information import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BARS = 25  # largest number of error bars; more would hide the trajectory
_MARK = {"linestyle": "none", "markeredgecolor": style.BLACK, "markeredgewidth": 1, "zorder": 3}
START = {"marker": "s", "markersize": 8, **_MARK}
END = {"marker": "*", "markersize": 14, **_MARK}


@dataclass(frozen=True)
class Panel:
    """The axes of a layer and the trajectory that they show."""

    axes: Axes
    path: Trajectory


def draw_path(panel: Panel, last_step: int) -> None:
    """Draw the trajectory: error bars, line and points coloured by step, with markers on the first and last point."""
    from matplotlib.collections import LineCollection

    axes, path = panel.axes, panel.path
    colors, norm = style.step_colors(last_step)
    if not np.isfinite(path.x).any():
        style.note(axes, "no finite value")
        return
    _bars(panel)
    points = np.stack([path.x, path.y], -1)
    segments = LineCollection(
        list(np.stack([points[:-1], points[1:]], 1)), cmap=colors, norm=norm, linewidths=1.2, zorder=2
    )
    segments.set_array(path.steps[1:])
    axes.add_collection(segments, autolim=False)
    axes.scatter(path.x, path.y, s=14, c=path.steps, cmap=colors, norm=norm, linewidths=0, zorder=2.5)
    mark(panel, 0, START, last_step)
    mark(panel, -1, END, last_step)


def _bars(panel: Panel) -> None:
    """Draw light error bars at evenly selected points."""
    path = panel.path
    known = np.flatnonzero(np.isfinite(path.x))
    few = known[:: max(1, -(-len(known) // BARS))]
    x_error, y_error = np.nan_to_num(path.x_error[:, few]), np.nan_to_num(path.y_error[:, few])
    look = {"ecolor": style.GREY, "elinewidth": 0.7, "alpha": 0.35, "zorder": 1.8}
    panel.axes.errorbar(path.x[few], path.y[few], y_error, x_error, fmt="none", **look)


def mark(panel: Panel, number: int, look: Mapping[str, Any], last_step: int) -> None:
    """Mark the point with index `number` among the points with values, in the colour of its step."""
    colors, norm = style.step_colors(last_step)
    known = np.flatnonzero(np.isfinite(panel.path.x))
    place = known[number]
    panel.axes.plot(panel.path.x[place], panel.path.y[place], **look, color=colors(norm(panel.path.steps[place])))
