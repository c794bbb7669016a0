"""Mutual information and accuracy against the step, on twin axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from grokplane.plot import style, ticks
from grokplane.plot.bands import LEAST_NATS, line_with_band, over_runs
from grokplane.plot.grid import Margins, grid, legend_below, legend_height
from grokplane.plot.information import INPUT, LABEL, Limit, ceiling, column, constant, information_layers
from grokplane.plot.measured import frame_measured
from grokplane.plot.settings import check_one_setting
from grokplane.plot.unseen import shown
from grokplane.plot.words import SUBSETS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 8.95, 2.2  # width of the figure, height of a panel, in inches
LEFT, RIGHT = 0.95, 0.8  # inches beside the panels
DASHED, DOTTED = (0, (5, 2)), (0, (1, 1))
# If two lines coincide (interchangeable operands), the dashed one leaves the other visible.
QUANTITIES: dict[str, tuple[str, str, style.LineStyle]] = {
    INPUT: ("I(X;L)", style.GREEN, "-"),
    "MI(X;L|Y)": ("I(X;L|Y)", style.GREEN, DASHED),
    LABEL: ("I(L;Y)", style.PURPLE, "-"),
    "MI(L;a)": ("I(L;a)", style.ORANGE, "-"),
    "MI(L;b)": ("I(L;b)", style.SKY, DASHED),
}
ACCURACY = {"Acc/train": ("train accuracy", style.TRAIN), "Acc/test": ("test accuracy", style.TEST)}
ACCURACY |= {"Acc/unseen": ("unseen accuracy", style.BLACK), "Acc/ood": ("out-of-domain accuracy", style.OOD)}
LEGEND_COLUMNS = 5
NEAR = 1.2  # a ceiling up to this multiple of the axis limit is shown


def information_accuracy(
    rows: pd.DataFrame,
    subset: str = "eval",
    *,
    marks: Mapping[str, int | None] | None = None,
    title: str = "",
    width: float = WIDTH,
) -> Figure:
    """Mutual information in nats (left axis) and accuracy (right axis) against the step (log), one panel per layer.

    Shaded areas are the logged standard errors. With several runs, lines are means over runs and shaded areas are the
    ranges from the minimum to the maximum. H(Y) is a thin horizontal line. Values that are not finite are gaps.

    Args:
        rows: as for `information_plane`, but I(L;Y) is optional; also `Acc/train`, `Acc/test` and optionally
            `Acc/unseen`, `Acc/ood`, `MI(X;L|Y)_..`, `MI(L;a)_..` and `MI(L;b)_..`.
        subset: subset whose information is drawn: `train`, `eval` (held out) or `ood` (out of domain).
        marks: as for `curves`.
        title: title above the panels.
        width: width of the figure in inches.

    Raises:
        ValueError: as for `information_plane`.
    """
    layers = information_layers(rows, (subset,), (INPUT,))
    words, resolution = frame_measured(rows)
    check_one_setting(rows)
    head = [title, ", ".join(part for part in (f"information of the {SUBSETS[subset]}", words) if part)]
    columns = max(2, int(LEGEND_COLUMNS * width / WIDTH))
    entries = 2 * LEGEND_COLUMNS + shown(rows, "Acc/ood")
    margins = Margins(LEFT, RIGHT, 0.6 + legend_height(entries, columns), 0.42, down=0.16)
    frame = grid(len(layers), 1, (width - LEFT - RIGHT, HEIGHT), margins, head, share_x=True)
    column = frame.panels[:, 0]
    style.step_axis(column[0], max([1, *rows["step"]]))
    for axes, layer in zip(column, layers, strict=True):
        _panel(axes, rows, subset, layer, ceiling(rows, subset, resolution))
        style.mark_lines(axes, marks or {})
    style.mark_labels(column[0], marks or {})
    column[-1].tick_params(labelbottom=True)
    style.step_label(column[-1])
    _legend(frame.figure, columns)
    return frame.figure


def _panel(axes: Axes, rows: pd.DataFrame, subset: str, layer: str, limit: Limit) -> None:
    right = axes.twinx()
    for name, (label, color) in ACCURACY.items():
        if shown(rows, name):
            line_with_band(right, over_runs(rows, name), color=color, label=label, linestyle=DOTTED)
    right.set_ylim(-0.04, 1.04)
    right.set_ylabel("accuracy", fontsize=style.FONT + 1)
    right.tick_params(labelsize=style.FONT)
    right.spines["top"].set_visible(False)
    for quantity in QUANTITIES:
        if column(quantity, subset, layer) in rows:
            _information(axes, rows, quantity, subset, layer)
    style.plain(axes, f"{layer}\ninformation (nats)")
    ticks.least_span(axes, LEAST_NATS)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    entropy = constant(rows, f"H(Y)_{subset}")
    if entropy == entropy:  # known
        style.level_line(axes, entropy, "H(Y)")
    if limit.nats < NEAR * axes.get_ylim()[1]:
        axes.set_ylim(top=max(axes.get_ylim()[1], 1.03 * limit.nats))
        axes.axhline(limit.nats, color=style.GREY, linestyle=DASHED, linewidth=1, label=f"I(X;L) \u2264 {limit.name}")


def _information(axes: Axes, rows: pd.DataFrame, quantity: str, subset: str, layer: str) -> None:
    """Draw the line of one quantity, with its standard error as a shaded area."""
    label, color, linestyle = QUANTITIES[quantity]
    band = over_runs(rows, column(quantity, subset, layer))
    line_with_band(axes, band, color=color, label=label, linestyle=linestyle)
    errors = column(f"{quantity}_Errors", subset, layer)
    if errors in rows and not band.several:
        error = over_runs(rows, errors).mean
        axes.fill_between(band.steps, band.mean - error, band.mean + error, color=color, alpha=0.2, linewidth=0)


def _legend(figure: Figure, columns: int) -> None:
    """Draw one legend for all panels below them."""
    entries = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    legend_below(figure, list(entries.values()), list(entries), min(len(entries), columns))
