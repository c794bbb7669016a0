"""A quantity over the steps as an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from grokplane.plot import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.colors import Normalize


def step_image(
    axes: Axes,
    steps: np.ndarray,
    edges: np.ndarray,
    values: np.ndarray,
    marks: Mapping[str, int | None],
    norm: Normalize | None = None,
) -> QuadMesh:
    """Draw values as colours over a log step axis, with the marks; values that are not finite are white.

    Args:
        axes: an empty panel.
        steps: of the log points [T], ascending.
        edges: of the cells on the vertical axis [M + 1].
        values: [T, M].
        marks: as for `curves`.
        norm: of the colours; None: linear.
    """
    style.step_axis(axes, max(1, int(steps[-1])))
    shown = np.ma.masked_invalid(values.T)
    image = axes.pcolormesh(style.step_edges(axes, steps), edges, shown, cmap="magma_r", norm=norm, rasterized=True)
    axes.set_ylim(edges[0], edges[-1])
    style.mark_lines(axes, marks, cased=True)
    return image
