"""Accuracy against sparsity for magnitude pruning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grokplane.plot import style
from grokplane.plot.headings import heading
from grokplane.plot.legends import NARROW, legend

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 9.0, 4.2  # inches
# Most changes occur at high sparsity, so that the range above this value takes half of the axis.
KINK = 0.9
ENDS = (-0.027, 1.003)  # equal margins on both sides of the axis
TICKS = (0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.92, 0.94, 0.96, 0.98, 1)  # a narrow figure has every other one
LINES = {
    "Acc/train": ("train", style.TRAIN),
    "Acc/test": ("held-out", style.TEST),
    "Acc/ood": ("out of domain", style.OOD),
}


def prune(
    rows: pd.DataFrame,
    *,
    kept: float | None = None,
    tolerance: float | None = None,
    title: str = "",
    width: float = WIDTH,
) -> Figure:
    """Accuracy on every subset against sparsity; the axis is linear up to 0.9 and stretched above.

    Values that are not finite are gaps.

    Args:
        rows: one row per sparsity, in any order. Columns `sparsity` (share of weights that are zero, 0 to 1),
            `Acc/train`, `Acc/test` and optionally `Acc/ood`.
        kept: largest sparsity at which the held-out accuracy is unchanged to within `tolerance`; drawn as a mark.
        tolerance: see `kept`; drawn as a band below the held-out accuracy at the smallest sparsity.
        title: title above the panel.
        width: width of the figure in inches.

    Returns:
        The figure, without a GUI backend; `save` writes it to a file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, HEIGHT), layout="constrained")
    axes, rows = figure.subplots(), rows.sort_values("sparsity", kind="stable")
    _sparsity_axis(axes, width)
    for column, (label, color) in ((name, look) for name, look in LINES.items() if name in rows):
        axes.plot(rows["sparsity"], rows[column], color=color, linewidth=1.6, marker="o", markersize=3.5, label=label)
    style.plain(axes, "accuracy")
    axes.set_ylim(-0.04, 1.04)
    if kept is not None and tolerance is not None:
        _mark(axes, float(rows["Acc/test"].iloc[0]), kept, tolerance, width)
    legend(figure, axes, below=0 if kept is None else 1 if width >= NARROW else 2)
    heading(figure, title)
    return figure


def _mark(axes: Axes, unpruned: float, kept: float, tolerance: float, width: float) -> None:
    """Draw the band of accuracies that count as unchanged, and the largest sparsity with such an accuracy."""
    axes.axhspan(unpruned - tolerance, unpruned, color=style.TEST, alpha=0.15, linewidth=0, zorder=1)
    style.level_line(axes, unpruned, f"held-out, unpruned: {unpruned:.4g}")
    axes.axvline(kept, color=style.TEST, linestyle=(0, (4, 2)), linewidth=1.2, zorder=1.5)
    between = " " if width >= NARROW else "\n"
    words = f"held-out within {tolerance:g} of unpruned:{between}up to sparsity {kept:.4g}"
    style.above(axes, kept, words, 3, style.TEST)


def _sparsity_axis(axes: Axes, width: float) -> None:
    axes.set_xscale("function", functions=(_place, _sparsity))
    axes.set_xlim(*ENDS)
    ticks = TICKS if width >= NARROW else TICKS[::2]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.axvspan(KINK, ENDS[1], color=style.GREY, alpha=0.07, linewidth=0, zorder=0)
    label = f"sparsity: share of weights set to zero\n(stretched above {KINK:g})"
    axes.set_xlabel(label, fontsize=style.FONT + 1)


def _place(sparsity: np.ndarray) -> np.ndarray:
    """Position of a sparsity on the axis, from 0 to 1."""
    x = np.asarray(sparsity, dtype=float)
    return np.where(x < KINK, x / KINK / 2, 0.5 + (x - KINK) / (1 - KINK) / 2)


def _sparsity(place: np.ndarray) -> np.ndarray:
    """Sparsity at a position on the axis; the inverse of `_place`."""
    x = np.asarray(place, dtype=float)
    return np.where(x < 0.5, 2 * KINK * x, KINK + (1 - KINK) * (2 * x - 1))
