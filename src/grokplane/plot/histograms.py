"""Histograms of the weights over the steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from grokplane.plot import style
from grokplane.plot.grid import Margins, grid
from grokplane.plot.images import step_image
from grokplane.plot.recorded import Arrays, named

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT, FEW = 6.6, 2.0, 1e-4  # inches of a panel; smallest share with a colour of its own


def weight_histograms(arrays: Arrays, *, marks: Mapping[str, int | None] | None = None, title: str = "") -> Figure:
    """Share of the weights of each layer in each bin, by step, as an image with one panel per layer.

    Bins without weights are white. The outermost bins also hold all larger weights.

    Args:
        arrays: `weight_counts/<layer>` [T, bins] and `weight_edges` [T, bins + 1], of the metric `weight_histograms`.
        marks: as for `curves`.
        title: title above the panels.

    Raises:
        ValueError: if no histograms were recorded.
    """
    from matplotlib.colors import LogNorm

    counts, edges = named(arrays, "weight_counts"), arrays["weight_edges"].values[0].astype(float)
    frame = grid(len(counts), 1, (WIDTH, HEIGHT), Margins(1.1, 1.45, 0.6, 0.5, down=0.18), [title], share_x=True)
    column = frame.panels[:, 0]
    places, images = np.arange(len(edges)), []
    for axes, (layer, one) in zip(column, counts.items(), strict=True):
        total = one.values.sum(1, keepdims=True)
        share = np.where(one.values > 0, one.values / np.maximum(total, 1), np.nan)
        images.append(step_image(axes, one.steps, places, share, marks or {}, LogNorm(FEW, 1, clip=True)))
        style.plain(axes, f"{layer}\nweight")
        axes.grid(visible=False)
        axes.set_yticks(*_ticks(edges))
    style.mark_labels(column[0], marks or {})
    column[-1].tick_params(labelbottom=True)
    style.step_label(column[-1])
    bar = frame.figure.colorbar(images[0], cax=frame.bar_axes())
    bar.set_label("share of the layer's weights", fontsize=style.FONT + 1)
    bar.ax.tick_params(labelsize=style.FONT)
    return frame.figure


def _ticks(edges: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Places on the axis of bin numbers and labels of 0 and of powers of ten inside the bins, with both signs."""
    widest = 2 * np.diff(edges).min()  # powers of ten below the width of the central bins are too close to 0
    powers = [10.0**power for power in range(-12, 13) if 4 * widest < 10.0**power <= edges[-1]]
    values = np.array([*(-power for power in reversed(powers)), 0.0, *powers])
    return np.interp(values, edges, np.arange(len(edges))), [f"{value:g}" for value in values]
