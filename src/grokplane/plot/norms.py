"""Weight norms against the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from grokplane.plot import style, ticks
from grokplane.plot.bands import line_with_band, over_runs
from grokplane.plot.curves import logged, norm_series
from grokplane.plot.headings import heading
from grokplane.plot.legends import legend
from grokplane.plot.settings import check_one_setting

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 9.0, 4.2  # inches


def weight_norms(
    rows: pd.DataFrame, *, marks: Mapping[str, int | None] | None = None, title: str = "", width: float = WIDTH
) -> Figure:
    """L2 norm of every layer, sum of these norms, and norm of all parameters against the step, on two log axes.

    With several runs, lines are means and bands reach from the minimum to the maximum. Values that are not finite are
    gaps.

    Args:
        rows: one row per log point, in any order. Columns `step`, `run` if there are several runs, and any of
            `WN/<layer>`, `WN/total`, `WN/global`.
        marks: as for `curves`.
        title: title above the panel.
        width: width of the figure in inches.

    Raises:
        ValueError: if there is no such column, or if runs differ in more than their seed.
    """
    from matplotlib.figure import Figure

    series = [one for one in norm_series(list(rows.columns)) if one.column in rows]
    if not series:
        raise ValueError("no weight norms were recorded (columns WN/<layer>)")
    check_one_setting(rows)
    figure = Figure(figsize=(width, HEIGHT), layout="constrained")
    axes = figure.subplots()
    style.step_axis(axes, max([1, *rows["step"]]))
    rows = logged(rows, [one.column for one in series])
    bands = [over_runs(rows, one.column) for one in series]
    for one, band in zip(series, bands, strict=True):
        line_with_band(axes, band, color=one.color, label=one.label, linestyle=one.linestyle)
    log = any(bool((band.mean > 0).any()) for band in bands)
    style.plain(axes, "L2 norm (log scale)" if log else "L2 norm")
    if log:
        ticks.log_values(axes)
    style.mark_lines(axes, marks or {})
    style.mark_labels(axes, marks or {})
    style.step_label(axes)
    legend(figure, axes, below=len(style.mark_words(marks or {})))
    heading(figure, title)
    return figure
