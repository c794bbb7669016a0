"""The information plane: what each layer knows of the input and of the label while the network trains.

Tishby and Zaslavsky 2015, "Deep learning and the information bottleneck principle"; Shwartz-Ziv and Tishby 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grokplane.plot import style
from grokplane.plot.information import SUBSETS, Trajectory, error_meaning, information_layers, trajectory
from grokplane.plot.path import END, START, Panel, draw_path

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL, BAR, MARGIN = 3.0, 1.1, 1.1  # inches: a panel's width and height, the colour bar's width, titles and legend
COLUMNS = 4
# A narrower axis would blow an estimator's noise up to a trajectory.
LEAST_SPAN = 0.4  # nats
PAD, NEAR = 0.1, 1.0  # shares of the span: room around the values; how far off a bound or a bar's end is still shown


@dataclass(frozen=True)
class Planes:
    """The empty planes of a figure: axes, limits, titles and colour bar are there, the trajectories are not."""

    figure: Figure
    panels: list[Panel]
    last_step: int


def information_plane(rows: pd.DataFrame, subset: str = "eval", *, noise: str | None = None, title: str = "") -> Figure:
    """I(L;Y) against I(X;L) in nats, a panel a layer, one point a log point, coloured by step (log scale).

    A square marks the first point, a star the last. The limits H(Y) and ln n are drawn where they are near. Bars are
    the errors logged with the values; with several runs the points are means over them and the bars reach to the
    smallest and the largest. A point one of whose values is not finite is a gap.

    Args:
        rows: a row for each log point, in any order. Columns `step`, `run` where there are several,
            `MI(X;L)_<subset>/<layer>`, `MI(L;Y)_<subset>/<layer>`; if there are any, `MI(X;L)_Errors_..`,
            `MI(L;Y)_Errors_..`, `H(Y)_<subset>` and `ln n_<subset>`.
        subset: `train` or `eval` (held out).
        noise: the noise that makes the information finite, in words; stands in the title.
        title: stands above the panels, as it is.

    Raises:
        ValueError: for another subset, and for a run that recorded no mutual information.
    """
    return _figure(rows, (subset,), noise, title)


def information_planes(rows: pd.DataFrame, *, noise: str | None = None, title: str = "") -> Figure:
    """The information planes of the training and the held-out subset, one above the other with equal limits.

    Arguments and errors: see `information_plane`.
    """
    return _figure(rows, tuple(SUBSETS), noise, title)


def _figure(rows: pd.DataFrame, subsets: Sequence[str], noise: str | None, title: str) -> Figure:
    planes = empty_planes(rows, subsets, noise=noise, title=title)
    for panel in planes.panels:
        draw_path(panel, planes.last_step)
    _legend(planes.figure, error_meaning(rows))
    return planes.figure


def empty_planes(rows: pd.DataFrame, subsets: Sequence[str], *, noise: str | None, title: str) -> Planes:
    """Everything but the trajectories; see `information_plane`."""
    from matplotlib.figure import Figure

    layers = information_layers(rows, subsets)
    blocks = [layers[first : first + COLUMNS] for first in range(0, len(layers), COLUMNS)]
    size = (BAR + PANEL * len(blocks[0]), MARGIN + PANEL * len(blocks) * len(subsets))
    figure = Figure(figsize=(max(5.5, size[0]), size[1]), layout="constrained")
    grid = figure.subplots(len(blocks) * len(subsets), len(blocks[0]), squeeze=False)
    panels: list[Panel] = []
    for number, block in enumerate(blocks):
        for place, layer in enumerate(block):
            column = grid[number * len(subsets) : (number + 1) * len(subsets), place]
            panels += _column(list(column), [trajectory(rows, subset, layer) for subset in subsets])
    for unused in grid[-len(subsets) :, len(blocks[-1]) :].flat:
        unused.set_axis_off()
    last_step = int(max([1, *rows["step"]]))
    _color_bar(figure, grid, last_step)
    head = [title or f"information plane, {SUBSETS[subsets[0]]}" if len(subsets) == 1 else title, noise or ""]
    figure.suptitle("\n".join(line for line in head if line), fontsize=style.FONT + 2, parse_math=False)
    return Planes(figure, panels, last_step)


def _column(column: Sequence[Axes], paths: Sequence[Trajectory]) -> list[Panel]:
    """The panels of one layer, a subset each, with the same limits."""
    x = _limits([(path.x, path.x_error) for path in paths], [path.log_points for path in paths])
    y = _limits([(path.y, path.y_error) for path in paths], [path.entropy for path in paths])
    for axes, path in zip(column, paths, strict=True):
        spec = axes.get_subplotspec()
        style.plain(axes, f"{SUBSETS[path.subset]}\nI(L;Y) (nats)" if spec and spec.is_first_col() else "")
        axes.set(xlim=x, ylim=y)
        _bounds(axes, path)
    column[0].set_title(paths[0].layer, fontsize=style.FONT + 1, parse_math=False)
    column[-1].set_xlabel("I(X;L) (nats)", fontsize=style.FONT + 1)
    return [Panel(axes, path) for axes, path in zip(column, paths, strict=True)]


def _limits(drawn: Sequence[tuple[np.ndarray, np.ndarray]], bounds: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis: values [points], the ends of their bars [2, points] and bounds, where near."""
    import numpy as np

    values = np.concatenate([finite_values(value) for value, _ in drawn])
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    span = max(high - low, LEAST_SPAN)
    low, high = min(low, (low + high - span) / 2), max(high, (low + high + span) / 2)
    ends = np.concatenate([finite_values(value + sign * bar[side]) for value, bar in drawn for side, sign in _ENDS])
    ends = np.clip(ends, low - NEAR * span, high + NEAR * span)
    near = [bound for bound in bounds if low < bound < high + NEAR * span]
    low, high = min([low, *ends]), max([high, *ends, *near])
    return low - PAD * (high - low), high + PAD * (high - low)


_ENDS = ((0, -1), (1, 1))


def finite_values(values: np.ndarray) -> np.ndarray:
    """Those of the values that are finite."""
    import numpy as np

    return values[np.isfinite(values)]


def _bounds(axes: Axes, path: Trajectory) -> None:
    """H(Y) as a horizontal and ln n as a vertical line, where they lie inside the axes."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    look = {"color": style.GREY, "linestyle": (0, (4, 2)), "linewidth": 1, "zorder": 1.5}
    text = {"textcoords": "offset points", "fontsize": style.FONT - 1, "color": style.GREY, "zorder": 1.9}
    if bottom < path.entropy < top:
        axes.axhline(path.entropy, **look)
        place = {"xytext": (3, 2), "xycoords": axes.get_yaxis_transform(), "va": "bottom"}
        axes.annotate(f"H(Y) = {path.entropy:.2f}", (0, path.entropy), **place, **text)
    if left < path.log_points < right:
        axes.axvline(path.log_points, **look)
        place = {"xytext": (-2, 0), "xycoords": axes.get_xaxis_transform(), "ha": "right", "va": "center"}
        axes.annotate(f"ln n = {path.log_points:.2f}", (path.log_points, 0.5), rotation=90, **place, **text)


def _color_bar(figure: Figure, grid: np.ndarray, last_step: int) -> None:
    from matplotlib.cm import ScalarMappable

    colors, norm = style.step_colors(last_step)
    bar = figure.colorbar(ScalarMappable(norm, colors), ax=grid.ravel().tolist(), aspect=20 * len(grid), pad=0.01)
    style.step_bar(bar, last_step)


def _legend(figure: Figure, bars: str) -> None:
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], **START, color="white", label="first log point"),
        Line2D([], [], **END, color="white", label="last log point"),
        Line2D([], [], color=style.GREY, alpha=0.5, marker="+", markersize=11, linestyle="none", label=f"bars: {bars}"),
    ]
    columns = 3 if figure.get_figwidth() > 8 else 1
    figure.legend(handles=entries, loc="outside lower center", ncols=columns, frameon=False, fontsize=style.FONT)
