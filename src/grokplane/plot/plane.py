"""The information plane: mutual information of each layer with the input and with the label during training.

Tishby and Zaslavsky 2015, "Deep learning and the information bottleneck principle"; Shwartz-Ziv and Tishby 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grokplane.plot import style
from grokplane.plot.bands import LEAST_NATS
from grokplane.plot.grid import Grid, Margins, grid, legend_below, legend_height
from grokplane.plot.information import Limit, Trajectory, error_meaning, has_information, information_layers, trajectory
from grokplane.plot.legends import NARROW
from grokplane.plot.limits import draw_limits
from grokplane.plot.measured import frame_measured
from grokplane.plot.path import END, START, Panel, draw_path
from grokplane.plot.settings import check_one_setting
from grokplane.plot.words import SUBSETS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL, LEAST_WIDTH = (2.55, 2.4), 6.0  # inches
FLAT = 1.7  # height of a panel in a narrow figure, in inches
WIDTH = 14.1  # width of four panels, in inches
LEFT, RIGHT, ACROSS = 0.9, 1.45, 0.5  # inches beside the panels and between them
PAD, NEAR = 0.1, 1.0  # relative to the span: margin around the values; largest distance of a bound or error bar


@dataclass(frozen=True)
class Planes:
    """A figure of planes with axes, limits, titles and colour bar, but without trajectories.

    Attributes:
        figure: the figure.
        panels: one plane per layer and subset.
        last_step: largest step of the frame.
        beside: number of columns of the legend below the panels.
    """

    figure: Figure
    panels: list[Panel]
    last_step: int
    beside: int


def information_plane(rows: pd.DataFrame, subset: str = "eval", *, title: str = "", width: float = WIDTH) -> Figure:
    """I(L;Y) against I(X;L) in nats, one panel per layer and one point per log point, coloured by step (log scale).

    A square marks the first point, a star the last. Upper bounds are drawn if they are close: H(Y) for I(L;Y), and for
    I(X;L) the entropy of the distinguishable inputs, H(X) or ln n, or the capacity 1 / (2 r^2) at the resolution r.
    Error bars are the logged standard errors; with several runs, points are means and bars reach to the minimum and
    the maximum. A point with a value that is not finite is a gap.

    Args:
        rows: one row per log point, in any order. Columns `step`, `run` if there are several runs,
            `MI(X;L)_<subset>/<layer>` and `MI(L;Y)_<subset>/<layer>`; optionally `MI(X;L)_Errors_..`,
            `MI(L;Y)_Errors_..`, `H(Y)_<subset>`, `H(X)_<subset>`, `ln n_<subset>`, and the config keys
            `measured.KEYS`, which determine the second line of the title.
        subset: `train`, `eval` (held out) or `ood` (out of domain).
        title: title above the panels.
        width: largest width of the figure in inches, if one panel fits; further panels continue in rows below.

    Raises:
        ValueError: for another subset, if no mutual information was recorded, and if runs were measured in different
            ways or differ in more than their seed.
    """
    return _figure(rows, (subset,), title, width)


def information_planes(rows: pd.DataFrame, *, title: str = "", width: float = WIDTH) -> Figure:
    """The information planes of all subsets, stacked vertically with equal limits.

    The out-of-domain subset is left out if nothing was recorded for it. Arguments and errors are those of
    `information_plane`.
    """
    subsets = [subset for subset in SUBSETS if subset != "ood" or has_information(rows, (subset,))]
    return _figure(rows, subsets, title, width)


def _figure(rows: pd.DataFrame, subsets: Sequence[str], title: str, width: float) -> Figure:
    planes = empty_planes(rows, subsets, title=title, width=width)
    for panel in planes.panels:
        draw_path(panel, planes.last_step)
    _legend(planes, error_meaning(rows))
    return planes.figure


def empty_planes(rows: pd.DataFrame, subsets: Sequence[str], *, title: str, width: float = WIDTH) -> Planes:
    """Make the figure of `information_plane` without trajectories and legend; there is space for the legend."""
    layers, told = information_layers(rows, subsets), _told(rows, subsets)
    check_one_setting(rows)
    columns = max(1, int((width - LEFT - RIGHT + ACROSS) / (PANEL[0] + ACROSS)))
    blocks = [layers[first : first + columns] for first in range(0, len(layers), columns)]
    beside = 3 if len(blocks[0]) > 2 else 1
    margins = Margins(LEFT, RIGHT, 0.6 + legend_height(3, beside), 0.32, ACROSS, 0.36 if len(blocks) == 1 else 0.85)
    size = (len(blocks) * len(subsets), len(blocks[0]))
    panel = PANEL if width >= NARROW else (PANEL[0], FLAT)
    frame = grid(*size, panel, margins, [title, told], least_width=min(LEAST_WIDTH, width))
    panels: list[Panel] = []
    for number, block in enumerate(blocks):
        for place, layer in enumerate(block):
            column = frame.panels[number * len(subsets) : (number + 1) * len(subsets), place]
            panels += _column(list(column), [trajectory(rows, subset, layer) for subset in subsets], first=place == 0)
    for unused in frame.panels[-len(subsets) :, len(blocks[-1]) :].flat:
        unused.set_axis_off()
    last_step = int(max([1, *rows["step"]]))
    _color_bar(frame, last_step)
    return Planes(frame.figure, panels, last_step, beside)


def _told(rows: pd.DataFrame, subsets: Sequence[str]) -> str:
    """Second line of the heading: the subset and how its information was measured."""
    whose = f"information plane, {SUBSETS[subsets[0]]}" if len(subsets) == 1 else "information plane"
    return ", ".join(part for part in (whose, frame_measured(rows)[0]) if part)


def _column(column: Sequence[Axes], paths: Sequence[Trajectory], *, first: bool) -> list[Panel]:
    """Set up the panels of one layer, one per subset, with the same limits."""
    x = _limits([(path.x, path.x_error) for path in paths], [path.ceiling for path in paths])
    y = _limits([(path.y, path.y_error) for path in paths], [path.entropy for path in paths])
    for axes, path in zip(column, paths, strict=True):
        style.plain(axes, f"{SUBSETS[path.subset]}\nI(L;Y) (nats)" if first else "")
        axes.set(xlim=x, ylim=y)
        draw_limits(axes, path)
    column[0].set_title(paths[0].layer, fontsize=style.FONT + 1, parse_math=False)
    column[-1].set_xlabel("I(X;L) (nats)", fontsize=style.FONT + 1)
    return [Panel(axes, path) for axes, path in zip(column, paths, strict=True)]


def _limits(drawn: Sequence[tuple[np.ndarray, np.ndarray]], bounds: Sequence[Limit]) -> tuple[float, float]:
    """Limits of an axis from values [points] with error bars [2, points], and from bounds that are close."""
    values = np.concatenate([finite_values(value) for value, _ in drawn])
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    span = max(high - low, LEAST_NATS)
    low, high = min(low, (low + high - span) / 2), max(high, (low + high + span) / 2)
    ends = np.concatenate([finite_values(value + sign * bar[side]) for value, bar in drawn for side, sign in _ENDS])
    ends = np.clip(ends, low - NEAR * span, high + NEAR * span)
    near = [bound.nats for bound in bounds if low < bound.nats < high + NEAR * span]
    low, high = min([low, *ends]), max([high, *ends, *near])
    return low - PAD * (high - low), high + PAD * (high - low)


_ENDS = ((0, -1), (1, 1))


def finite_values(values: np.ndarray) -> np.ndarray:
    """The finite values."""
    return values[np.isfinite(values)]


def _color_bar(frame: Grid, last_step: int) -> None:
    from matplotlib.cm import ScalarMappable

    colors, norm = style.step_colors(last_step)
    style.step_bar(frame.figure.colorbar(ScalarMappable(norm, colors), cax=frame.bar_axes()), last_step)


def _legend(planes: Planes, bars: str) -> None:
    from matplotlib.lines import Line2D

    entries = {
        "first log point": Line2D([], [], **START, color="white"),
        "last log point": Line2D([], [], **END, color="white"),
        f"bars: {bars}": Line2D([], [], color=style.GREY, alpha=0.5, marker="+", markersize=11, linestyle="none"),
    }
    legend_below(planes.figure, list(entries.values()), list(entries), planes.beside)
