"""A layer's way over the information plane, drawn on a pair of axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grokplane.plot import style
from grokplane.plot.information import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BARS = 25  # more of them would hide the trajectory
_MARK = {"linestyle": "none", "markeredgecolor": style.BLACK, "markeredgewidth": 1, "zorder": 3}
START = {"marker": "s", "markersize": 8, **_MARK}
END = {"marker": "*", "markersize": 14, **_MARK}


@dataclass(frozen=True)
class Panel:
    """A layer's pair of axes and what they show."""

    axes: Axes
    path: Trajectory


def draw_path(panel: Panel, last_step: int) -> None:
    """The whole trajectory: bars, line and points in the colours of their steps, first and last point marked."""
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
    """Light bars of the errors, on evenly chosen points."""
    path = panel.path
    known = np.flatnonzero(np.isfinite(path.x))
    few = known[:: max(1, -(-len(known) // BARS))]
    x_error, y_error = np.nan_to_num(path.x_error[:, few]), np.nan_to_num(path.y_error[:, few])
    look = {"ecolor": style.GREY, "elinewidth": 0.7, "alpha": 0.35, "zorder": 1.8}
    panel.axes.errorbar(path.x[few], path.y[few], y_error, x_error, fmt="none", **look)


def mark(panel: Panel, number: int, look: Mapping[str, Any], last_step: int) -> None:
    """Mark one of the points that have values, by its place among them, in the colour of its step."""
    colors, norm = style.step_colors(last_step)
    known = np.flatnonzero(np.isfinite(panel.path.x))
    place = known[number]
    panel.axes.plot(panel.path.x[place], panel.path.y[place], **look, color=colors(norm(panel.path.steps[place])))
