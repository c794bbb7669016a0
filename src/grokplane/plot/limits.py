"""Upper bounds as lines on an information plane, with labels placed away from markers and curves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grokplane.plot import style
from grokplane.plot.headings import inches
from grokplane.plot.information import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

SIZE = style.FONT - 1  # font size of the labels in points
# In points: gap between a line and its label (the second also clears a label on the line); clearance around curves;
# clearance around the first and last point.
GAPS, CURVE, MARK = (2.0, 10.0), 2.0, 9.0
PLACES = ((0.01, "start"), (0.99, "end"), (0.5, "middle"), (0.25, "middle"), (0.75, "middle"))  # along the line
BETWEEN = 12  # number of points of a curve that are tested between two log points


@dataclass(frozen=True)
class _Name:
    """A candidate position for the label of a bound.

    Attributes:
        box: area that the label would cover, in pixels.
        corner: lower left corner of the label relative to that of the axes, in points.
    """

    box: Bbox
    corner: tuple[float, float]


def draw_limits(axes: Axes, path: Trajectory) -> None:
    """Draw H(Y) as a horizontal line and the ceiling of I(X;L) as a vertical line, if they are inside the axes.

    Args:
        axes: a panel with its final position and limits.
        path: trajectory that will be drawn in the panel.
    """
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    look = {"color": style.GREY, "linestyle": (0, (4, 2)), "linewidth": 1, "zorder": 1.5}
    taken: list[Bbox] = []
    if bottom < path.entropy.nats < top:
        axes.axhline(path.entropy.nats, **look)
        _write(axes, path, f"{path.entropy.name} = {path.entropy.nats:.2f}", path.entropy.nats, taken, upright=False)
    if left < path.ceiling.nats < right:
        axes.axvline(path.ceiling.nats, **look)
        _write(axes, path, f"{path.ceiling.name} = {path.ceiling.nats:.2f}", path.ceiling.nats, taken, upright=True)


def _write(axes: Axes, path: Trajectory, words: str, nats: float, taken: list[Bbox], *, upright: bool) -> None:
    """Write the label of a bound at its first free position, or at the position that hides least."""
    from matplotlib.patheffects import withStroke

    curve, ends = _drawn(axes, path)
    point = _point(axes)

    def cost(name: _Name) -> int:
        hidden = name.box.padded(CURVE * point).count_contains(curve)
        hidden += len(curve) * name.box.padded(MARK * point).count_contains(ends)
        hidden += 3 * len(curve) * any(name.box.overlaps(other) for other in taken)
        inside = axes.bbox.contains(name.box.x0, name.box.y0) and axes.bbox.contains(name.box.x1, name.box.y1)
        return hidden + 3 * len(curve) * (not inside)

    best = min(_places(axes, words, nats, upright=upright), key=cost)
    taken.append(best.box)
    place = {"xycoords": "axes fraction", "xytext": best.corner, "textcoords": "offset points"}
    look = {"fontsize": SIZE, "color": style.GREY, "rotation": 90 if upright else 0, "zorder": 4}
    text = axes.annotate(words, (0, 0), ha="left", va="bottom", **place, **look)
    text.set_path_effects([withStroke(linewidth=2, foreground="white")])


def _places(axes: Axes, words: str, nats: float, *, upright: bool) -> Iterator[_Name]:
    """Candidate positions: above or to the right of the line at several places, the other side, then farther away."""
    from matplotlib.transforms import Bbox

    point = _point(axes)
    length, height = 72 * inches(words, SIZE), 1.15 * SIZE
    origin, size = (axes.bbox.x0 / point, axes.bbox.y0 / point), (axes.bbox.width / point, axes.bbox.height / point)
    line = axes.transData.transform((nats, nats))[0 if upright else 1] / point - origin[0 if upright else 1]
    for gap in GAPS:
        for across in (line + gap, line - gap - height):
            for share, side in PLACES:
                along = share * size[1 if upright else 0] - {"start": 0, "middle": length / 2, "end": length}[side]
                corner = (across, along) if upright else (along, across)
                box = (height, length) if upright else (length, height)
                x, y = origin[0] + corner[0], origin[1] + corner[1]
                yield _Name(Bbox.from_bounds(x * point, y * point, box[0] * point, box[1] * point), corner)


def _point(axes: Axes) -> float:
    """Size of a point in pixels."""
    return axes.figure.dpi / 72


def _drawn(axes: Axes, path: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Points of the curve in pixels [points, 2], interpolated between log points, and its first and last [2, 2]."""
    points = np.stack([path.x, path.y], -1)
    known = axes.transData.transform(points[np.isfinite(points).all(axis=1)])
    parts = np.linspace(0, 1, BETWEEN)[:, None, None]
    between = (known[:-1] + parts * np.diff(known, axis=0)).reshape(-1, 2)
    return np.concatenate([known, between]), known[[0, -1]] if len(known) else known
