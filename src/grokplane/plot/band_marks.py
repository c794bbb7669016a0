"""Marks of several runs on a panel of their accuracies: how many reached the threshold, and how many stayed there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from grokplane.marks import Marks, Track, summarise

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

THRESHOLD = "grok.threshold"
ROW, ROOM = 0.04, 0.8  # distance of the rows of marks below the threshold, and of all of them at most, in accuracy
LOOKS = {"first": ("v", "\N{BLACK DOWN-POINTING TRIANGLE}"), "stable": ("D", "\N{BLACK DIAMOND}")}  # marker, in a text


def run_marks(rows: pd.DataFrame, metric: str) -> tuple[float, list[Marks]] | None:
    """The threshold of the runs of a frame and their marks by an accuracy; None if they have no common threshold.

    Args:
        rows: columns `step`, `metric`, `grok.threshold`, and `run` if there are several runs; rows in any order.
        metric: name of the column; a run without a value has no marks.
    """
    known = set(rows[THRESHOLD].dropna()) if THRESHOLD in rows else set[float]()
    if len(known) != 1:
        return None
    threshold = float(known.pop())
    return threshold, [_marks(own, metric, threshold) for own in _runs(rows) if len(own[metric].dropna())]


def _runs(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    if "run" not in rows:
        yield rows
    else:
        yield from (own for _, own in rows.groupby("run", sort=False))


def _marks(rows: pd.DataFrame, metric: str, threshold: float) -> Marks:
    own = rows.drop_duplicates("step", keep="last").sort_values("step")
    track = Track(threshold, 0)
    values = own[metric].to_numpy(dtype=float, na_value=np.nan)
    for step, value in zip(own["step"].tolist(), values.tolist(), strict=True):
        track.see(step, value)
    return track.marks


def mark_band(axes: Axes, rows: pd.DataFrame, metric: str, *, color: str, line: tuple[int, int], end: float) -> str:
    """Draw the median step at which the runs reached the threshold, and from which they stayed there, with intervals.

    A censored median, or end of an interval, is drawn at the right end of the panel, the median as an empty marker.

    Args:
        axes: the panel.
        rows: see `run_marks`; nothing is drawn for a single run.
        metric: the accuracy.
        color: colour of the runs' line.
        line: number of the line, which has its own two rows below the threshold, and the number of lines.
        end: largest step of the panel.

    Returns:
        A text for the legend: how many runs reached it and how many stayed.
    """
    found = run_marks(rows, metric)
    if found is None or len(found[1]) < 2:
        return ""
    threshold, marks = found
    counts, (number, lines) = [], line
    for row, (name, (marker, _)) in enumerate(LOOKS.items()):
        seeds = summarise(getattr(one, name) for one in marks)
        low, median, high = (end if one is None else one for one in (seeds.low, seeds.median, seeds.high))
        place, look = threshold - min(ROW, ROOM / (2 * lines)) * (2 * number + row), {"color": color, "zorder": 4}
        axes.hlines(place, low, high, linewidth=1.2, label=f"_{name} interval", **look)
        face = color if seeds.median is not None else "white"
        axes.plot(
            [median], [place], marker, markerfacecolor=face, markersize=6, label=f"_{name}", clip_on=False, **look
        )
        counts.append(seeds.grokked)
    (_, reached), (_, stayed) = LOOKS.values()
    return f"{counts[0]} of {len(marks)} reach {threshold:g} {reached}, {counts[1]} stay {stayed}"
