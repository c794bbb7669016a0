"""Several runs as one line: their mean, and the band from the minimum to the maximum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grokplane.plot import style, ticks
from grokplane.plot.band_marks import mark_band
from grokplane.plot.headings import heading
from grokplane.plot.legends import legend
from grokplane.plot.settings import settings
from grokplane.plot.words import metric_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, PANEL_HEIGHT, MARGIN = 9.0, 2.9, 0.9  # inches
LEAST_NATS = 0.4  # smallest range of an information axis; a smaller range would magnify noise


@dataclass(frozen=True)
class Band:
    """A metric over the runs of a frame; all arrays are [points], by ascending step.

    Attributes:
        steps: number of updates.
        mean: mean over the runs with a finite value at the step; NaN if there is none.
        low: minimum over these runs.
        high: maximum over these runs.
        runs: number of these runs.
    """

    steps: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    runs: np.ndarray

    @property
    def several(self) -> bool:
        """Whether more than one run counts at some point."""
        return bool((self.runs > 1).any())

    def made_of(self) -> str:
        """Description of the line: the number of runs."""
        counts = self.runs[self.runs > 0]
        few, many = (int(counts.min()), int(counts.max())) if counts.size else (0, 0)
        if many <= 1:
            return f"{many} run{'s' * (many == 0)}"
        return f"mean of {many} runs" if few == many else f"mean of {many} runs, pale: of {few} or more"


def over_runs(rows: pd.DataFrame, metric: str) -> Band:
    """Compute the band of a metric over the runs of a frame.

    A step that a run did not log before its last row is left out, so that the mean does not jump between sets of runs
    that log at different steps. A run that ended early (diverged, killed) counts up to its last row. Values that are
    not finite are missing values.

    Args:
        rows: columns `step`, `metric`, and `run` if there are several runs; rows in any order.
        metric: name of the column.

    Raises:
        KeyError: if there is no such column.
    """
    values = rows[metric].to_numpy(dtype=float, na_value=np.nan)
    names = rows["run"].to_numpy(dtype=str) if "run" in rows else np.zeros(len(rows))
    steps, row = np.unique(rows["step"].to_numpy(), return_inverse=True)
    runs, column = np.unique(names, return_inverse=True)
    table, there = np.full((len(steps), len(runs)), np.nan), np.zeros((len(steps), len(runs)), dtype=bool)
    table[row, column], there[row, column] = np.where(np.isfinite(values), values, np.nan), True
    ends = np.where(there, steps[:, None], -1).max(axis=0, initial=-1)
    kept = (there | (steps[:, None] > ends)).all(axis=1)
    return _band(steps[kept], table[kept])


def _band(steps: np.ndarray, table: np.ndarray) -> Band:
    """Band of values [points, runs]; NaN is a missing value."""
    count = np.isfinite(table).sum(axis=1)
    mean = np.nansum(table, axis=1) / np.where(count > 0, count, np.nan)
    low, high = (ends.reduce(table, axis=1, initial=np.nan) for ends in (np.fmin, np.fmax))
    # By round-off, the mean of equal values can lie outside of their band.
    return Band(steps, np.clip(mean, low, high), low, high, count)


def line_with_band(axes: Axes, band: Band, *, color: str, label: str, linestyle: style.LineStyle = "-") -> None:
    """Draw the mean of a band as a line and, with several runs, the band as a shaded area.

    Where some of the runs have no value, because they ended early, the line is pale: it is the mean of the others.
    """
    fewer = band.runs < band.runs.max(initial=0)
    line = {"color": color, "linestyle": linestyle}
    style.gapped_line(axes, band.steps, np.where(fewer, np.nan, band.mean), label=label, **line)
    if (fewer & (band.runs > 0)).any():
        joined = fewer | np.append(fewer[1:], False)  # from the last point of all runs on
        style.gapped_line(axes, band.steps, np.where(joined, band.mean, np.nan), label=f"_{label}", alpha=0.4, **line)
    if band.several:
        axes.fill_between(band.steps, band.low, band.high, color=color, alpha=0.2, linewidth=0)


def mean_and_band(
    frames: pd.DataFrame | Mapping[str, pd.DataFrame],
    metric: str | Sequence[str],
    *,
    title: str = "",
    width: float = WIDTH,
) -> Figure:
    """Metrics against the step (log), one panel each: the mean over runs and the band from minimum to maximum.

    Accuracies have an axis from 0 to 1, losses a log axis. See `over_runs` for runs that log at different steps or end
    early. Accuracies of several runs have their marks, if the frame has one `grok.threshold`: the median step at which
    they reached it (triangle) and from which they stayed there (diamond) with 95% bootstrap intervals. Runs that never
    did count as later than all others; a censored median is an empty marker at the right end. A run counts to its last
    row, so a run that is training may still fall below the threshold.

    Args:
        frames: a frame with a column `run`, or several such frames by their names in the legend. Runs that differ in
            more than their seed get one line per setting (see `grokplane.plot.settings`).
        metric: name of a column, or several names.
        title: title above the panels.
        width: width of the figure in inches.

    Raises:
        ValueError: if a setting has no such column.
    """
    from matplotlib.figure import Figure

    metrics = [metric] if isinstance(metric, str) else list(metric)
    parted = _settings(frames)
    _check(parted, metrics)
    figure = Figure(figsize=(width, MARGIN + PANEL_HEIGHT * len(metrics)), layout="constrained")
    grid = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
    style.step_axis(grid[0], max([1, *(step for rows in parted.values() for step in rows["step"])]))
    above: list[str] = []
    for axes, name in zip(grid, metrics, strict=True):
        _panel(axes, parted, name)
        labels = axes.get_legend_handles_labels()[1]
        if labels != above:
            legend(figure, axes)
        above = labels
    style.step_label(grid[-1])
    heading(figure, title)
    return figure


def _settings(frames: pd.DataFrame | Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The frames by name, each split by the keys besides the seed in which its runs differ."""
    named = frames if isinstance(frames, Mapping) else {"": frames}
    return {
        ", ".join(part for part in (name, setting) if part): rows
        for name, frame in named.items()
        for setting, rows in settings(frame).items()
    }


def _check(parted: Mapping[str, pd.DataFrame], metrics: Sequence[str]) -> None:
    for name, rows in parted.items():
        absent = [metric for metric in metrics if metric not in rows]
        if absent:
            raise ValueError(f"{', '.join(absent)}: not among the columns{' of ' * bool(name)}{name}")


def _panel(axes: Axes, parted: Mapping[str, pd.DataFrame], metric: str) -> None:
    bands = {name: over_runs(rows, metric) for name, rows in parted.items()}
    end = max([1.0, *(float(band.steps.max()) for band in bands.values() if band.steps.size)])
    for number, (color, (name, band)) in enumerate(zip(style.cycle(len(bands)), bands.items(), strict=True)):
        label = f"{name}: {band.made_of()}" if name else band.made_of()
        if metric.startswith("Acc/"):
            told = mark_band(axes, parted[name], metric, color=color, line=(number, len(bands)), end=end)
            label += f"; {told}" if told else ""
        line_with_band(axes, band, color=color, label=label)
    log = metric.startswith("Loss/") and any(bool((band.mean > 0).any()) for band in bands.values())
    words, place = metric_words(metric)
    style.plain(axes, "\n".join(part for part in (place, f"{words} (log scale)" if log else words) if part))
    if log:
        ticks.log_values(axes)
    elif metric.startswith("Acc/"):
        axes.set_ylim(-0.04, 1.04)
    else:
        ticks.least_span(axes, LEAST_NATS if "(nats)" in words else 0.0)
