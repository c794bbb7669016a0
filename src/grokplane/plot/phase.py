"""Phase diagrams: outcomes of training over two hyperparameters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from grokplane.plot import heatmap, style
from grokplane.plot.cells import Cells
from grokplane.plot.legends import NARROW
from grokplane.plot.regions import THRESHOLD, final_error, steps_to_generalise, steps_to_stay, thresholds

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure


def phase(
    frame: pd.DataFrame, x: str, y: str, *, threshold: float = THRESHOLD, title: str = "", width: float = heatmap.WIDTH
) -> Figure:
    """Steps to generalise and final test accuracy over two parameters.

    A cell whose median over the seeds never generalised is coloured by its region (`regions.classify`). If seeds
    disagree, the cell states how many of them generalised. The right panel shows the median accuracy of the finished
    runs; diverged runs count as lower than all others. If the frame has lasting marks (`grok.stable_step`), a third
    panel has the steps from which the test accuracy stayed at the threshold, and the figure is wider by a half.

    Args:
        frame: one row per run, with the columns `regions.COLUMNS`, `x` and `y`.
        x: parameter of the horizontal axis, which is logarithmic for geometric spacing.
        y: parameter of the vertical axis, likewise.
        threshold: accuracy that counted as fitted and generalised, if there is no column `grok.threshold`.
        title: title above the panels.
        width: width of the figure in inches.
    """
    over, stay = heatmap.plane(frame, x, y), steps_to_stay(frame, threshold)
    count = 2 if stay is None else 3
    wide = width if stay is None or width < NARROW else width * 3 / 2
    figure, (left, right, *more) = heatmap.panels(over, title, wide, count)
    known = sorted({*thresholds(frame, threshold).tolist()})
    reached = f"{known[0]:g}" if len(known) == 1 else "its threshold"
    first, last = over.cells(steps_to_generalise(frame, threshold)), stay and over.cells(stay)
    colors = step_colors(np.concatenate([first.value, *([] if last is None else [last.value])]))
    heatmap.bar(figure, heatmap.paint(left, over, first, colors), left)
    left.set_title(f"steps until test accuracy reaches {reached} (log scale)", fontsize=style.FONT + 1)
    errors = over.cells(final_error(frame, "test"))
    accuracy = replace(errors, value=1 - errors.value)
    heatmap.bar(figure, heatmap.paint(right, over, accuracy, share_colors("Blues")), right)
    right.set_title("final test accuracy", fontsize=style.FONT + 1)
    shown = {*first.region, *accuracy.region}
    if last is not None:
        heatmap.bar(figure, heatmap.paint(more[0], over, last, colors), more[0])
        more[0].set_title(f"steps until it stays at {reached} (log scale)", fontsize=style.FONT + 1)
        _counts(more[0], over, last, "")
        shown |= {*last.region}
    heatmap.legend(figure, shown, _counts(left, over, first, "generalised" if last is None else "reached the mark"))
    return figure


def step_colors(steps: np.ndarray) -> tuple[Colormap, Normalize]:
    """Logarithmic colours for the finite values of `steps`, from dark (few steps) to light; step 0 counts as 1."""
    from matplotlib.colors import LogNorm

    known = np.maximum(steps[np.isfinite(steps)], 1)
    low, high = (known.min(), known.max()) if known.size else (1, 10)
    return style.pale(), LogNorm(low, max(high, 1.5 * low), clip=True)


def share_colors(name: str) -> tuple[Colormap, Normalize]:
    """Colours for shares from 0 to 1; 0 is darker than a white background."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, Normalize

    return ListedColormap(list(colormaps[name]([0.08 + 0.92 * place / 255 for place in range(256)])), name), Normalize(
        0, 1
    )


def _counts(axes: Axes, over: heatmap.Plane, steps: Cells, what: str) -> str:
    """Write the number of seeds with the mark into cells whose seeds disagree; return a note about seeds."""
    pairs = zip(steps.reached.tolist(), steps.runs.tolist(), strict=True)
    note = heatmap.note_shares(axes, over, steps.keys, [(k or n, n) for k, n in pairs], what)
    return f"median of {note}" if note else ""
