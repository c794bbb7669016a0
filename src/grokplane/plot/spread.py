"""Steps to generalise over one parameter, with every seed as a point: alpha curves, and strips over names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from grokplane.plot import style, ticks
from grokplane.plot.cells import Cells, medians
from grokplane.plot.headings import heading
from grokplane.plot.legends import legend
from grokplane.plot.regions import (
    GENERALISED,
    REGIONS,
    THRESHOLD,
    Outcome,
    classify,
    ended,
    final_error,
    steps_to_fit,
    steps_to_generalise,
)
from grokplane.plot.scales import Scale, scale
from grokplane.plot.settings import check_one_setting

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, PANEL, ROW = 9.0, 3.1, 0.3  # inches; a row of the margin that shows who never got there
BESIDE, JITTER = 0.13, 0.07  # of a place on an axis of names


@dataclass(frozen=True, eq=False)
class _Seeds:
    """The rows' places on the x axis: the scale and which of its values each row has."""

    scale: Scale
    rows: np.ndarray

    @property
    def names(self) -> bool:
        """Whether the values have no order."""
        return not self.scale.ordered

    def jittered(self) -> np.ndarray:
        """The rows' places [rows]; over names the rows of one stand side by side."""
        x = self.scale.places[self.rows]
        if not self.names:
            return x
        before = np.array([(self.rows[:row] == place).sum() for row, place in enumerate(self.rows)])
        return x + JITTER * ((2 * before + 1) / np.bincount(self.rows)[self.rows] - 1)


@dataclass(frozen=True)
class _Look:
    """A line's name in the legend and its colour; what belongs to the training set is dashed and on the left."""

    name: str
    color: str

    @property
    def linestyle(self) -> style.LineStyle:
        """Dashes show a line that lies below or above."""
        return (0, (4, 2)) if self.color == style.TRAIN else "-"

    @property
    def side(self) -> int:
        """On which side of a name."""
        return -1 if self.color == style.TRAIN else 1


def spread(
    frame: pd.DataFrame, x: str, *, threshold: float = THRESHOLD, title: str = "", width: float = WIDTH
) -> Figure:
    """Steps to fit and to generalise (log) and final accuracies over one parameter, all seeds and their median.

    Over numbers the medians are a line and the band goes from the smallest to the largest; over names (operations,
    optimizers) each name has a bar of its own. Runs that never generalised stand in rows above the panel, by their
    region (`regions.classify`); the median counts them as infinitely late, so that its line has a gap where half of
    the seeds or more never did, while the band is that of the others. A run that generalised and then diverged or
    stopped stands in both. Over `data.train_fraction` this is the alpha curve: Power et al. 2022 (arXiv 2201.02177),
    figure 1.

    Args:
        frame: a row for each run, with the columns `regions.COLUMNS` and `x`.
        x: the parameter; log where it is spaced geometrically.
        threshold: the accuracy that counted as fitted and generalised, where there is no column `grok.threshold`.
        title: stands above the panels.
        width: of the figure, in inches.

    Raises:
        ValueError: if runs differ in more than this parameter and the seed.
    """
    check_one_setting(frame, (x,))
    along = scale(x, list(frame[x]))
    seeds, marks = _Seeds(along, along.number(list(frame[x]))), _marks(frame, threshold)
    names = [name for name in REGIONS if (marks == name).any()]
    figure, strip, (steps, accuracy) = _panels(len(names), width)
    along.dress(accuracy, "x")
    _steps(steps, seeds, steps_to_fit(frame), steps_to_generalise(frame, threshold))
    _accuracies(accuracy, seeds, final_error(frame, "train"), final_error(frame, "test"))
    legend(figure, steps)
    legend(figure, accuracy)
    if strip is not None:
        _margin(strip, seeds, marks.to_numpy(), names)
    heading(figure, title)
    return figure


def _marks(frame: pd.DataFrame, threshold: float) -> pd.Series:
    """What the margin says of each row: its region, or how it ended after it generalised; empty: nothing."""
    regions = classify(frame, threshold)
    return regions.where(regions != GENERALISED, ended(frame))


def _panels(rows: int, width: float) -> tuple[Figure, Axes | None, Sequence[Axes]]:
    """The figure, the margin of so many rows if there are any, the two panels."""
    from matplotlib.figure import Figure

    heights = ([ROW * rows + 0.1] if rows else []) + [PANEL, PANEL]
    figure = Figure(figsize=(width, sum(heights) + 0.9), layout="constrained")
    every = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    return figure, every[0] if rows else None, every[-2:]


def _steps(axes: Axes, seeds: _Seeds, fitted: Outcome, generalised: Outcome) -> None:
    values = np.concatenate([fitted.values, generalised.values])
    known = values[np.isfinite(values)]
    style.plain(axes, "step (log scale)")
    if not known.size:
        style.note(axes, "no run fitted or generalised")
        return
    _log_limits(axes, known.min(), known.max())
    _draw(axes, seeds, generalised.values, medians(generalised, seeds.rows), _Look("generalised", style.TEST))
    _draw(axes, seeds, fitted.values, medians(fitted, seeds.rows), _Look("fitted", style.TRAIN))
    if len(seeds.rows) > len(seeds.scale.labels):
        _explain(axes)


def _log_limits(axes: Axes, low: float, high: float) -> None:
    """A log axis a decade long at least; a step 0 needs a linear piece below 1."""
    if low < 1:
        axes.set_yscale("symlog", linthresh=1, linscale=0.4)
        axes.set_ylim(-0.2, max(10, 1.5 * high))
    else:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.5, max(1.5 * high, 10 * low))
    ticks.log_ticks(axes)


def _accuracies(axes: Axes, seeds: _Seeds, train: Outcome, test: Outcome) -> None:
    style.plain(axes, "final accuracy")
    axes.set_ylim(-0.04, 1.04)
    for outcome, look in ((test, _Look("test", style.TEST)), (train, _Look("train", style.TRAIN))):
        cells = medians(outcome, seeds.rows)
        flipped = replace(cells, value=1 - cells.value, low=1 - cells.high, high=1 - cells.low)
        _draw(axes, seeds, 1 - outcome.values, flipped, look)


def _draw(axes: Axes, seeds: _Seeds, values: np.ndarray, cells: Cells, look: _Look) -> None:
    """All finite values as points, the medians, and the band from the smallest to the largest."""
    finite, shift = np.isfinite(values), look.side * BESIDE * seeds.names
    x, at = seeds.jittered() + shift, seeds.scale.places[cells.keys[:, 0]] + shift
    dots = {"alpha": 0.6, "linewidth": 0, "zorder": 3}
    axes.scatter(x[finite], values[finite], 16, color=look.color, label=f"_{look.name} runs", **dots)
    area = {"color": look.color, "alpha": 0.15, "linewidth": 0, "label": f"_{look.name} band"}
    if seeds.names:
        axes.bar(at, cells.high - cells.low, 2 * BESIDE, cells.low, **area)
        axes.hlines(cells.value, at - BESIDE, at + BESIDE, color=look.color, linewidth=2, label=look.name)
    else:
        axes.fill_between(at, cells.low, cells.high, **area)
        style.gapped_line(axes, at, cells.value, color=look.color, linestyle=look.linestyle, label=look.name)


def _explain(axes: Axes) -> None:
    """Entries of the legend for what both colours share."""
    axes.plot([], [], color=style.GREY, linewidth=1.6, label="median")
    axes.scatter([], [], 16, color=style.GREY, label="a run")
    axes.fill_between([], [], color=style.GREY, alpha=0.3, linewidth=0, label="smallest to largest")


def _margin(axes: Axes, seeds: _Seeds, marks: np.ndarray, names: Sequence[str]) -> None:
    """A row for each region, with its mark and, where there are several, the number of runs."""
    for height, name in enumerate(reversed(names)):
        rows, counts = np.unique(seeds.rows[marks == name], return_counts=True)
        look, x = REGIONS[name], seeds.scale.places[rows]
        axes.scatter(
            x,
            np.full(len(x), height),
            42,
            look.color,
            marker=look.marker,
            edgecolor="#333333",
            linewidth=0.7,
            label=name,
        )
        for place, count in zip(x[counts > 1], counts[counts > 1], strict=True):
            offset = {"xytext": (6, 0), "textcoords": "offset points"}
            axes.annotate(f"x {count}", (place, height), **offset, va="center", fontsize=style.FONT - 2)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_yticks(range(len(names)), list(reversed(names)), fontsize=style.FONT)
    axes.tick_params("both", length=0, labelbottom=False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.grid(axis="x", color="#E4E4E4", linewidth=0.8)
    axes.set_axisbelow(True)
