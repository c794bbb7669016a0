"""Elements of a group as points in a plane, coloured by their phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CYCLIC = "hsv"  # the colours of phases 0 and 1 are the same
LINES = {"color": "#E4E4E4", "linewidth": 0.8, "zorder": 0}


def phase_points(axes: Axes, points: np.ndarray, phase: np.ndarray) -> None:
    """Draw points [n, 2] around the centre of a panel with the colours of their phases [n], 0 to 1."""
    axes.axhline(0, **LINES)
    axes.axvline(0, **LINES)
    axes.scatter(*points.T, c=phase, cmap=CYCLIC, vmin=0, vmax=1, s=14, linewidths=0)
    reach = 1.1 * float(np.abs(points).max()) or 1.0
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
