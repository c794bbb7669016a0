"""Steps to generalise over one parameter, with every seed as a point: alpha curves, and strip plots over names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    steps_to_stay,
)
from grokplane.plot.scales import Scale, scale
from grokplane.plot.settings import check_one_setting

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, PANEL, ROW = 9.0, 3.1, 0.3  # inches: figure width, panel height, row of the margin with runs that never did
STABLE = style.PURPLE
BESIDE, JITTER = 0.13, 0.07  # offsets relative to the distance of names on an axis


@dataclass(frozen=True, eq=False)
class _Seeds:
    """Positions of the rows on the x axis: the scale and the index of each row's value."""

    scale: Scale
    rows: np.ndarray

    @property
    def names(self) -> bool:
        """Whether the values are names, without an order."""
        return not self.scale.ordered

    def jittered(self) -> np.ndarray:
        """Positions of the rows [rows]; rows with the same name are placed side by side."""
        x = self.scale.places[self.rows]
        if not self.names:
            return x
        before = np.array([(self.rows[:row] == place).sum() for row, place in enumerate(self.rows)])
        return x + JITTER * ((2 * before + 1) / np.bincount(self.rows)[self.rows] - 1)


@dataclass(frozen=True)
class _Look:
    """Legend label and colour of a line, and its place beside a name: -1 is left, 1 is right."""

    name: str
    color: str
    side: int

    @property
    def linestyle(self) -> style.LineStyle:
        """Dashed for the training set and dotted for the stable mark, so that a coinciding line stays visible."""
        return {style.TRAIN: (0, (4, 2)), STABLE: (0, (1, 1))}.get(self.color, "-")


def spread(
    frame: pd.DataFrame, x: str, *, threshold: float = THRESHOLD, title: str = "", width: float = WIDTH
) -> Figure:
    """Steps to fit and to generalise (log) and final accuracies over one parameter, with all seeds and their median.

    Over numbers, medians form a line and the band is their 95% bootstrap interval; over names (operations, optimizers),
    each name has a bar. Runs that never generalised are shown in rows above the panel, by their region
    (`regions.classify`). The median counts them as infinite, so that its line has a gap if at least half of the seeds
    never generalised, and a band whose upper end never generalised reaches to the top. A run that generalised and then
    diverged or stopped appears in both places. If the frame has lasting marks (`grok.stable_step`), the steps from
    which runs stayed at the threshold are drawn beside the first ones, likewise. Over `data.train_fraction` this is the
    alpha curve: Power et al. 2022 (arXiv 2201.02177), figure 1.

    Args:
        frame: one row per run, with the columns `regions.COLUMNS` and `x`.
        x: the parameter; the axis is logarithmic for geometric spacing.
        threshold: accuracy that counted as fitted and generalised, if there is no column `grok.threshold`.
        title: title above the panels.
        width: width of the figure in inches.

    Raises:
        ValueError: if runs differ in more than this parameter and the seed.
    """
    check_one_setting(frame, (x,))
    along = scale(x, list(frame[x]))
    seeds, marks = _Seeds(along, along.number(list(frame[x]))), _marks(frame, threshold)
    names = [name for name in REGIONS if (marks == name).any()]
    figure, strip, (steps, accuracy) = _panels(len(names), width)
    along.dress(accuracy, "x")
    marked = {"generalised": steps_to_generalise(frame, threshold), "fitted": steps_to_fit(frame)}
    _steps(steps, seeds, marked, steps_to_stay(frame, threshold))
    _accuracies(accuracy, seeds, final_error(frame, "train"), final_error(frame, "test"))
    legend(figure, steps)
    legend(figure, accuracy)
    if strip is not None:
        _margin(strip, seeds, marks.to_numpy(), names)
    heading(figure, title)
    return figure


def _marks(frame: pd.DataFrame, threshold: float) -> pd.Series:
    """Label of each row in the margin: its region, or how the run ended after it generalised; empty if none."""
    regions, stay = classify(frame, threshold), steps_to_stay(frame, threshold)
    if stay is None:
        return regions.where(regions != GENERALISED, ended(frame))
    return regions.where(regions != GENERALISED, np.where(np.isfinite(stay.values), "", stay.regions))


def _panels(rows: int, width: float) -> tuple[Figure, Axes | None, Sequence[Axes]]:
    """Make the figure, the margin with `rows` rows (None for 0), and the two panels."""
    from matplotlib.figure import Figure

    heights = ([ROW * rows + 0.1] if rows else []) + [PANEL, PANEL]
    figure = Figure(figsize=(width, sum(heights) + 0.9), layout="constrained")
    every = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    return figure, every[0] if rows else None, every[-2:]


def _steps(axes: Axes, seeds: _Seeds, marked: Mapping[str, Outcome], stable: Outcome | None) -> None:
    colors = {"stable": STABLE, "generalised": style.TEST, "fitted": style.TRAIN}
    sides = {"stable": 2, "generalised": 0, "fitted": -2} if stable is not None else {"generalised": 1, "fitted": -1}
    every = {**marked, **({} if stable is None else {"stable": stable})}
    values = np.concatenate([one.values for one in every.values()])
    known = values[np.isfinite(values)]
    style.plain(axes, "step (log scale)")
    if not known.size:
        style.note(axes, "no run fitted or generalised")
        return
    _log_limits(axes, known.min(), known.max())
    for name, side in sides.items():
        _draw(axes, seeds, every[name].values, medians(every[name], seeds.rows), _Look(name, colors[name], side))
    if len(seeds.rows) > len(seeds.scale.labels):
        _explain(axes)


def _log_limits(axes: Axes, low: float, high: float) -> None:
    """Set a log axis of at least one decade; a step 0 requires a linear part below 1."""
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
    for outcome, look in ((test, _Look("test", style.TEST, 1)), (train, _Look("train", style.TRAIN, -1))):
        cells = medians(outcome, seeds.rows)
        flipped = replace(cells, value=1 - cells.value, low=1 - cells.high, high=1 - cells.low)
        _draw(axes, seeds, 1 - outcome.values, flipped, look)


def _draw(axes: Axes, seeds: _Seeds, values: np.ndarray, cells: Cells, look: _Look) -> None:
    """Draw all finite values as points, the medians, and the intervals of the medians, within the panel."""
    finite, shift = np.isfinite(values), look.side * BESIDE * seeds.names
    x, at = seeds.jittered() + shift, seeds.scale.places[cells.keys[:, 0]] + shift
    dots = {"alpha": 0.6, "linewidth": 0, "zorder": 3}
    axes.scatter(x[finite], values[finite], 16, color=look.color, label=f"_{look.name} runs", **dots)
    low, high = np.clip([cells.low, cells.high], *axes.get_ylim())
    area = {"color": look.color, "alpha": 0.15, "linewidth": 0, "label": f"_{look.name} band"}
    if seeds.names:
        axes.bar(at, high - low, 2 * BESIDE, low, **area)
        axes.hlines(cells.value, at - BESIDE, at + BESIDE, color=look.color, linewidth=2, label=look.name)
    else:
        axes.fill_between(at, low, high, **area)
        style.gapped_line(axes, at, cells.value, color=look.color, linestyle=look.linestyle, label=look.name)


def _explain(axes: Axes) -> None:
    """Add legend entries for the elements that both colours share."""
    axes.plot([], [], color=style.GREY, linewidth=1.6, label="median")
    axes.scatter([], [], 16, color=style.GREY, label="a run")
    axes.fill_between([], [], color=style.GREY, alpha=0.3, linewidth=0, label="95% interval")


def _margin(axes: Axes, seeds: _Seeds, marks: np.ndarray, names: Sequence[str]) -> None:
    """Draw one row per region, with its markers and, for several runs, their number."""
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
