"""Learning curves of a run: accuracy, loss and weight norm against the step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from grokplane.plot import style, ticks
from grokplane.plot.headings import heading
from grokplane.plot.legends import legend
from grokplane.plot.unseen import shown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, PANEL_HEIGHT, MARGIN = 9.0, 2.7, 0.9  # inches
NORMS = "WN/"
SUBSETS = {
    "train": ("train", style.TRAIN),
    "test": ("test", style.TEST),
    "unseen": ("unseen", style.BLACK),
    "ood": ("out of domain", style.OOD),
}
DASHED = (0, (3, 1.5))
SUMS = {
    "WN/total": ("total (sum)", style.BLACK, "-"),
    "WN/global": ("global (L2)", style.GREY, (0, (5, 1.5))),
}


GROUP, TRAINED = "Acc/test/", "Acc/train/"
OF_GROUPS = "accuracy of groups"


@dataclass(frozen=True)
class Series:
    """A column of the frame and the style of its line."""

    column: str
    label: str
    color: str
    linestyle: style.LineStyle = "-"


@dataclass(frozen=True)
class _Panel:
    """One panel: y label, lines, y limits, and whether the y axis is logarithmic if there are positive values."""

    ylabel: str
    series: list[Series]
    limits: tuple[float | None, float | None] = (None, None)
    log: bool = False


def curves(
    rows: pd.DataFrame,
    *,
    marks: Mapping[str, int | None] | None = None,
    threshold: float | None = None,
    title: str = "",
    width: float = WIDTH,
) -> Figure:
    """Accuracy, loss (log) and weight norm against the step (log, including step 0), one panel each.

    Groups of held-out questions, such as the tasks of a mixture, have a panel of their own.

    A panel is left out if none of its columns exist. Values that are not finite are gaps. A loss of 0 is below the
    range of the log axis (if no loss is positive, the axis is linear).

    Args:
        rows: one row per log point, in any order. Columns `step` (number of updates), `run` if there are several runs
            (the first one is opaque), and any of `Acc/{train,test,unseen,ood}`, `Acc/{train,test}/<group>`,
            `Loss/{train,test,unseen,ood}`, `WN/<layer>`, `WN/total`, `WN/global`.
        marks: `train_step` (fitted) and `test_step` (generalised), drawn unless None; other keys are ignored, so that
            the `grok` of a summary can be passed.
        threshold: accuracy that defines the marks, drawn as a thin line.
        title: title above the panels.
        width: width of the figure in inches.

    Returns:
        The figure, without a GUI backend; `save` writes it to a file.
    """
    from matplotlib.figure import Figure

    panels = _panels(rows)
    figure = Figure(figsize=(width, MARGIN + PANEL_HEIGHT * max(1, len(panels))), layout="constrained")
    grid = figure.subplots(max(1, len(panels)), 1, sharex=True, squeeze=False)[:, 0]
    style.step_axis(grid[0], max([1, *rows["step"]]))
    for axes, panel in zip(grid, panels, strict=False):
        _draw(axes, panel, rows, marks or {}, threshold)
        below = len(style.mark_words(marks or {})) if axes is grid[0] else 0
        legend(figure, axes, below=below)
    if not panels:
        style.plain(grid[0], "")
        style.note(grid[0], "neither accuracy nor loss nor weight norms were recorded")
    style.mark_labels(grid[0], marks or {})
    style.step_label(grid[-1])
    heading(figure, title)
    return figure


def _panels(rows: pd.DataFrame) -> list[_Panel]:
    """The panels for which the frame has at least one column."""
    panels = [
        _Panel("accuracy", _subsets("Acc"), limits=(-0.04, 1.04)),
        _Panel(OF_GROUPS, group_series(list(rows.columns)), limits=(-0.04, 1.04)),
        _Panel("loss", _subsets("Loss"), log=True),
        _Panel("weight norm (L2)", norm_series(list(rows.columns)), limits=(0, None)),
    ]
    found = [replace(panel, series=[one for one in panel.series if shown(rows, one.column)]) for panel in panels]
    return [panel for panel in found if panel.series]


def _subsets(metric: str) -> list[Series]:
    return [Series(f"{metric}/{subset}", *look) for subset, look in SUBSETS.items()]


def group_series(columns: Sequence[str]) -> list[Series]:
    """Accuracies of the groups of held-out questions, dashed those of the same groups in training."""
    groups = [name.removeprefix(GROUP) for name in map(str, columns) if name.startswith(GROUP)]
    groups = [name for name in groups if "." not in name]  # groups of the tasks of a mixture would be too many lines
    colors = dict(zip(groups, style.ramp(len(groups)), strict=True))
    trained = [Series(f"{TRAINED}{name}", f"train/{name}", colors[name], DASHED) for name in groups]
    return [*trained, *(Series(f"{GROUP}{name}", f"test/{name}", colors[name]) for name in groups)]


def norm_series(columns: Sequence[str]) -> list[Series]:
    """Lines of the weight norms: layers in column order, from dark to light, then the totals."""
    layers = [name for name in columns if name.startswith(NORMS) and name not in SUMS]
    # Layers of one size often have equal norms: if two lines coincide, the dashed one leaves the other visible.
    looks = zip(layers, style.ramp(len(layers)), [("-", DASHED)[i % 2] for i in range(len(layers))], strict=True)
    lines = [Series(name, name.removeprefix(NORMS), color, linestyle) for name, color, linestyle in looks]
    return lines + [Series(name, *SUMS[name]) for name in SUMS]


def logged(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The rows with a value in any of these columns, so that log points which a metric's `every` passes are no gaps."""
    kept = rows.dropna(how="all", subset=columns)
    return rows if kept.empty else kept


def _draw(
    axes: Axes, panel: _Panel, rows: pd.DataFrame, marks: Mapping[str, int | None], threshold: float | None
) -> None:
    """Draw one panel: lines, marks and threshold."""
    rows = logged(rows, [one.column for one in panel.series])
    drawn = [_line(axes, series, run, number) for number, run in enumerate(_runs(rows)) for series in panel.series]
    log = panel.log and any(bool((values > 0).any()) for values in drawn)
    style.plain(axes, f"{panel.ylabel} (log scale)" if log else panel.ylabel)
    if log:
        ticks.log_values(axes)
    else:
        axes.set_ylim(*panel.limits)
    style.mark_lines(axes, marks)
    if threshold is not None and panel.ylabel in ("accuracy", OF_GROUPS):
        style.level_line(axes, threshold, f"threshold {threshold:g}")
    if not any(values.size for values in drawn):
        style.note(axes, "no finite value")


def _runs(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The rows of each run, by ascending step."""
    ordered = rows.sort_values("step", kind="stable")
    if "run" not in rows:
        yield ordered
        return
    for _, run in ordered.groupby("run", sort=False):
        yield run


def _line(axes: Axes, series: Series, run: pd.DataFrame, number: int) -> np.ndarray:
    """Draw the line of a run, with one legend entry for all runs; return its finite values."""
    return style.gapped_line(
        axes,
        run["step"].to_numpy(),
        run[series.column].to_numpy(dtype=float, na_value=np.nan),
        color=series.color,
        linestyle=series.linestyle,
        alpha=1 if number == 0 else 0.5,
        label=series.label if number == 0 else "_again",
    )
