"""Test and train error over two parameters: the loss landscape by weight norm and number of training points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grokplane.plot import heatmap, style
from grokplane.plot.phase import share_colors
from grokplane.plot.regions import final_error

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def landscape(frame: pd.DataFrame, x: str, y: str, *, title: str = "", width: float = heatmap.WIDTH) -> Figure:
    """Final test error and final train error, 1 - accuracy, over two parameters; log axes for geometric spacing.

    If one axis is alpha, the weight norm relative to the initial norm, and the other the number of training points,
    test error is U-shaped in alpha and train error L-shaped: Liu, Michaud and Tegmark 2023, "Omnigrok" (arXiv
    2210.01117), section 2. A cell shows the median over its finished seeds; diverged seeds count as larger than all
    others. A cell whose median diverged, failed or is unfinished is coloured accordingly.

    Args:
        frame: one row per run; columns `status`, `last.Acc/test`, `last.Acc/train`, `x` and `y`.
        x: parameter of the horizontal axis.
        y: parameter of the vertical axis.
        title: title above the panels.
        width: width of the figure in inches.
    """
    over = heatmap.plane(frame, x, y)
    figure, panels = heatmap.panels(over, title, width)
    shown: set[str] = set()
    for axes, subset in zip(panels, ("test", "train"), strict=True):
        cells = over.cells(final_error(frame, subset))
        heatmap.bar(figure, heatmap.paint(axes, over, cells, share_colors("Blues")), axes)
        axes.set_title(f"final {subset} error (1 - accuracy)", fontsize=style.FONT + 1)
        shown |= {*cells.region}
    heatmap.legend(figure, shown, "")
    return figure
