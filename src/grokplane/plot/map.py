"""Mutual information of every layer at every resolution, as a share of the entropy, over step and resolution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grokplane.plot import style
from grokplane.plot.bands import over_runs
from grokplane.plot.grid import Grid, Margins, grid, legend_below, legend_height
from grokplane.plot.information import (
    INPUT,
    LABEL,
    Limit,
    check_subset,
    constant,
    information_layers,
    level_columns,
    told_apart,
)
from grokplane.plot.measured import frame_measured
from grokplane.plot.settings import check_one_setting
from grokplane.plot.words import SUBSETS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

COLUMNS = 8
NARROW, WIDE, HEIGHT = 1.7, 3.4, 1.5  # smallest and largest width of a panel and its height, in inches
LEFT, RIGHT, ACROSS = 0.95, 1.75, 0.26  # inches beside the panels and between them
WIDTH = 9.6 + LEFT + RIGHT  # inches; figures with many panels are wider
TICK = 0.6  # width of a tick label in inches
COLORS, EMPTY = "magma", "#B8C4B8"
LEGEND = "resolution of the information plane"


@dataclass(frozen=True)
class _Quantity:
    """A quantity whose share is drawn: prefix of its columns, its name, and the entropy that bounds it."""

    columns: str
    name: str
    whole: Limit


def has_map(rows: pd.DataFrame, subset: str = "eval") -> bool:
    """Whether a frame has the information of a subset at two or more resolutions."""
    try:
        _layers(rows, subset)
    except ValueError:
        return False
    return True


def information_map(
    rows: pd.DataFrame,
    subset: str = "eval",
    *,
    marks: Mapping[str, int | None] | None = None,
    title: str = "",
    width: float = WIDTH,
) -> Figure:
    """I(L;Y) / H(Y), I(X;L) / H(X) and I(L;a) / H(a) by colour, over the step (log) and the resolution.

    Each column of panels is a layer, each row a quantity; all panels share one colour scale from 0 to 1. The levels of
    the resolution r are equidistant; a marker shows the level of the information plane. The information of a layer is
    at most 1 / (2 r^2) nats: if the entropy is larger, the largest possible share is written to the right. Colours are
    means over runs; values that are not finite are grey.

    Args:
        rows: one row per log point, in any order. Columns `step`, `run` if there are several runs, those of
            `information_plane`, `MI(X;L)@<r>_<subset>/<layer>` and so on for the other levels, and optionally
            `H(Y)_..`, `H(X)_..` (or `ln n_..`) and `H(a)_..`. A quantity whose entropy is unknown is left out.
        subset: `train`, `eval` (held out) or `ood` (out of domain).
        marks: as for `curves`.
        title: title above the panels.
        width: largest width of the figure in inches, if one panel fits; further panels continue in rows below.

    Raises:
        ValueError: for another subset, if information was not recorded at several resolutions, and if runs were
            measured in different ways or differ in more than their seed.
    """
    layers, own = _layers(rows, subset), frame_measured(rows)[1]
    check_one_setting(rows)
    levels = list(level_columns(rows, INPUT, subset, layers[0], own))
    quantities = [one for one in _quantities(rows, subset) if _recorded(rows, one, subset, layers, levels)]
    across = COLUMNS if width >= WIDTH else max(1, int((width - LEFT - RIGHT + ACROSS) / (NARROW + ACROSS)))
    blocks = [layers[first : first + across] for first in range(0, len(layers), across)]
    head = [title, f"what each layer tells at each resolution r, {SUBSETS[subset]}"]
    frame = _frame(len(blocks), len(blocks[0]), len(quantities), head, width)
    style.step_axis(frame.panels[0, 0], max([1, *rows["step"]]))
    _step_ticks(frame, max([1, *rows["step"]]))
    for axes in frame.panels.flat:
        axes.set_axis_off()
    gaps = []
    for number, layer in enumerate(layers):
        top, place = number // across * len(quantities), number % across
        column = frame.panels[top : top + len(quantities), place]
        for axes, quantity in zip(column, quantities, strict=True):
            columns = list(level_columns(rows, quantity.columns, subset, layer, own).values())
            gaps.append(_panel(axes, rows, columns, quantity.whole))
            style.mark_lines(axes, marks or {}, cased=True)
            _levels(axes, levels, own, f"{quantity.name} / {quantity.whole.name}" * (place == 0))
            if place == across - 1 or layer == layers[-1]:
                _reach(axes, levels, quantity.whole)
        for axes in column[:-1]:
            axes.xaxis.set_visible(False)
        column[0].set_title(layer, fontsize=style.FONT + 1, parse_math=False)
        column[-1].tick_params(labelbottom=True)
        style.step_label(column[-1])
    _color_bar(frame)
    _legend(frame.figure, marks or {}, gaps=any(gaps))
    return frame.figure


def _layers(rows: pd.DataFrame, subset: str) -> list[str]:
    check_subset(subset)
    layers = information_layers(rows, (subset,), (INPUT,))
    if len(level_columns(rows, INPUT, subset, layers[0], frame_measured(rows)[1])) < 2:
        columns = f"{INPUT}@<r>_{subset}/<layer>"
        raise ValueError(
            f"no information at several resolutions was recorded (columns {columns}): only mi=default records it"
        )
    return layers


def _quantities(rows: pd.DataFrame, subset: str) -> list[_Quantity]:
    """The quantities whose entropy is known."""
    every = [
        _Quantity(LABEL, "I(L;Y)", Limit(constant(rows, f"H(Y)_{subset}"), "H(Y)")),
        _Quantity(INPUT, "I(X;L)", told_apart(rows, subset)),
        _Quantity("MI(L;a)", "I(L;a)", Limit(constant(rows, f"H(a)_{subset}"), "H(a)")),
    ]
    return [one for one in every if one.whole.nats > 0]


def _recorded(
    rows: pd.DataFrame, quantity: _Quantity, subset: str, layers: Sequence[str], levels: Sequence[float]
) -> bool:
    """Whether every layer has the quantity at every level; a task may have no labels or operands."""
    own = frame_measured(rows)[1]
    return all([*level_columns(rows, quantity.columns, subset, layer, own)] == [*levels] for layer in layers)


def _frame(blocks: int, columns: int, quantities: int, head: Sequence[str], width: float) -> Grid:
    panel = min(WIDE, max(NARROW, (width - LEFT - RIGHT - 0.12 * (columns - 1)) / columns))
    entries = legend_height(4, _legend_columns(width))
    margins = Margins(LEFT, RIGHT, 0.6 + entries, 0.34, ACROSS, 0.14 if blocks == 1 else 0.8)
    return grid(blocks * quantities, columns, (panel, HEIGHT), margins, head, least_width=min(7.0, width), share_x=True)


def _step_ticks(frame: Grid, last_step: int) -> None:
    """Set ticks at powers of ten on the shared x axis, as many as fit into a panel."""
    powers = range(math.floor(math.log10(last_step)) + 1)
    width = frame.panels[0, 0].get_position().width * frame.figure.get_figwidth()
    every = math.ceil(TICK * len(powers) / width)
    frame.panels[0, 0].set_xticks([*([0] * (every == 1)), *(10**power for power in powers[::every])])
    frame.panels[0, 0].set_xticks([], minor=True)


def _panel(axes: Axes, rows: pd.DataFrame, columns: Sequence[str], whole: Limit) -> bool:
    """Draw the shares of one quantity in one layer; return whether there are cells without a value.

    Args:
        axes: the panel.
        rows: the frame.
        columns: columns of the levels, in ascending order.
        whole: the entropy that shares refer to.
    """
    axes.set_axis_on()
    axes.set_facecolor(EMPTY)
    bands = [over_runs(rows, name) for name in columns]
    if not len(bands[0].steps):
        return True
    shares = np.ma.masked_invalid(np.stack([band.mean for band in bands]) / whole.nats)
    edges = style.step_edges(axes, bands[0].steps)
    axes.pcolormesh(edges, np.arange(len(bands) + 1), shares, cmap=COLORS, vmin=0, vmax=1, rasterized=True)
    return bool(np.ma.getmaskarray(shares).any())


def _levels(axes: Axes, levels: Sequence[float], own: float, label: str) -> None:
    """Set up the axis of resolutions and mark the resolution of the plane; without a label the axis is hidden."""
    axes.set_ylim(0, len(levels))
    axes.yaxis.set_visible(label != "")
    axes.tick_params(labelsize=style.FONT - 1, length=2)
    if label:
        axes.set_yticks([place + 0.5 for place in range(len(levels))], [f"{level:g}" for level in levels])
        axes.set_ylabel(f"{label}\nresolution r", fontsize=style.FONT + 1)
    if own in levels:
        place = levels.index(own) + 0.5
        axes.plot([0.012], [place], **_MARK, transform=axes.get_yaxis_transform())


_MARK = {
    "marker": ">",
    "markersize": 7,
    "color": "white",
    "markeredgecolor": style.BLACK,
    "linestyle": "none",
    "zorder": 3,
}


def _reach(axes: Axes, levels: Sequence[float], whole: Limit) -> None:
    """Write the largest possible share to the right of each level at which it is below 1."""
    for place, level in enumerate(levels):
        share = 1 / (2 * level**2) / whole.nats
        if share < 1:
            look = {"va": "center", "fontsize": style.FONT - 2, "color": style.GREY}
            axes.text(1.015, place + 0.5, f"\u2264 {share:.2f}", transform=axes.get_yaxis_transform(), **look)


def _color_bar(frame: Grid) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    values: ScalarMappable = ScalarMappable(Normalize(0, 1), COLORS)
    bar = frame.figure.colorbar(values, cax=frame.bar_axes())
    bar.ax.tick_params(labelsize=style.FONT)
    bar.set_label("share", fontsize=style.FONT + 1)


def _legend(figure: Figure, marks: Mapping[str, int | None], *, gaps: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries = {words: Line2D([], [], color=color, **style.MARK) for words, color, _ in style.mark_words(marks)}
    entries |= {LEGEND: Line2D([], [], **_MARK)} | ({"no value": Patch(facecolor=EMPTY)} if gaps else {})
    legend_below(figure, list(entries.values()), list(entries), _legend_columns(figure.get_figwidth()))


def _legend_columns(width: float) -> int:
    return 2 if width >= 6 else 1
