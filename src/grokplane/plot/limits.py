"""What cannot be exceeded, as lines on an information plane, with names that neither marks nor curves lie on."""

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

SIZE = style.FONT - 1  # points, of the names
# Points: from a line to a name, past what stands on the line too; and to be kept free around curves, first and last.
GAPS, CURVE, MARK = (2.0, 10.0), 2.0, 9.0
PLACES = ((0.01, "start"), (0.99, "end"), (0.5, "middle"), (0.25, "middle"), (0.75, "middle"))  # along the line
BETWEEN = 12  # points of a curve that are looked at, from one log point to the next


@dataclass(frozen=True)
class _Name:
    """A place for a limit's name.

    Attributes:
        box: what it would cover, in pixels.
        corner: its lower left corner, from the axes' lower left one, in points.
    """

    box: Bbox
    corner: tuple[float, float]


def draw_limits(axes: Axes, path: Trajectory) -> None:
    """H(Y) as a horizontal and the ceiling of I(X;L) as a vertical line, where they lie inside the axes.

    Args:
        axes: a panel whose place on the figure and limits are final.
        path: what will be drawn there.
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
    """Write a limit's name at the first of its places that is free, else at that which hides least."""
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
    """Above the line or to its right, at its start, end and between; then on the other side; then farther off."""
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
    """Pixels of a point."""
    return axes.figure.dpi / 72


def _drawn(axes: Axes, path: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Points of the curve [points, 2], those between log points too, and its first and last one [2, 2], in pixels."""
    points = np.stack([path.x, path.y], -1)
    known = axes.transData.transform(points[np.isfinite(points).all(axis=1)])
    parts = np.linspace(0, 1, BETWEEN)[:, None, None]
    between = (known[:-1] + parts * np.diff(known, axis=0)).reshape(-1, 2)
    return np.concatenate([known, between]), known[[0, -1]] if len(known) else known
