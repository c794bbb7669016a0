"""Information and accuracy against the step, on twin axes: what a layer knows before, at and after grokking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from grokplane.plot import style
from grokplane.plot.bands import line_with_band, over_runs
from grokplane.plot.information import INPUT, LABEL, SUBSETS, column, constant, information_layers

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, PANEL_HEIGHT, MARGIN = 9.0, 2.5, 1.3  # inches
QUANTITIES = {
    INPUT: ("I(X;L)", style.GREEN),
    LABEL: ("I(L;Y)", style.PURPLE),
    "MI(L;a)": ("I(L;a)", style.ORANGE),
    "MI(L;b)": ("I(L;b)", style.SKY),
}
ACCURACY = {"Acc/train": ("train accuracy", style.TRAIN), "Acc/test": ("test accuracy", style.TEST)}
DOTTED = (0, (1, 1))


def information_accuracy(
    rows: pd.DataFrame,
    subset: str = "eval",
    *,
    marks: Mapping[str, int | None] | None = None,
    noise: str | None = None,
    title: str = "",
) -> Figure:
    """Mutual information in nats (left axis) and accuracy (right) against the step (log), a panel a layer.

    Light areas are the errors logged with the values; with several runs lines are means over them and areas reach from
    the smallest to the largest. H(Y) is a thin level line. What is not finite is a gap.

    Args:
        rows: as for `information_plane`; also `Acc/train`, `Acc/test`, and `MI(L;a)_..`, `MI(L;b)_..` if there are any.
        subset: whose information: `train` or `eval` (held out).
        marks: as for `curves`.
        noise: the noise that makes the information finite, in words; stands in the title.
        title: stands above the panels, as it is.

    Raises:
        ValueError: for another subset, and for a run that recorded no mutual information.
    """
    from matplotlib.figure import Figure

    layers = information_layers(rows, (subset,))
    figure = Figure(figsize=(WIDTH, MARGIN + PANEL_HEIGHT * len(layers)), layout="constrained")
    grid = figure.subplots(len(layers), 1, sharex=True, squeeze=False)[:, 0]
    style.step_axis(grid[0], max([1, *rows["step"]]))
    for axes, layer in zip(grid, layers, strict=True):
        _panel(axes, rows, subset, layer)
        style.mark_lines(axes, marks or {})
    style.mark_labels(grid[0], marks or {})
    style.step_label(grid[-1])
    _legend(figure)
    head = [title, f"information of the {SUBSETS[subset]}" + (f", {noise}" if noise else "")]
    figure.suptitle("\n".join(line for line in head if line), fontsize=style.FONT + 2, parse_math=False)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, subset: str, layer: str) -> None:
    right = axes.twinx()
    for name, (label, color) in ACCURACY.items():
        if name in rows:
            line_with_band(right, over_runs(rows, name), color=color, label=label, linestyle=DOTTED)
    right.set_ylim(-0.04, 1.04)
    right.set_ylabel("accuracy", fontsize=style.FONT + 1)
    right.tick_params(labelsize=style.FONT)
    right.spines["top"].set_visible(False)
    for quantity, (label, color) in QUANTITIES.items():
        if column(quantity, subset, layer) in rows:
            _information(axes, rows, quantity, subset, layer, color=color, label=label)
    style.plain(axes, f"{layer}\ninformation (nats)")
    style.level_line(axes, constant(rows, f"H(Y)_{subset}"), "H(Y)")


def _information(
    axes: Axes, rows: pd.DataFrame, quantity: str, subset: str, layer: str, *, color: str, label: str
) -> None:
    """One quantity's line, with its error as an area."""
    band = over_runs(rows, column(quantity, subset, layer))
    line_with_band(axes, band, color=color, label=label)
    errors = column(f"{quantity}_Errors", subset, layer)
    if errors in rows and not band.several:
        error = over_runs(rows, errors).mean
        axes.fill_between(band.steps, band.mean - error, band.mean + error, color=color, alpha=0.2, linewidth=0)


def _legend(figure: Figure) -> None:
    """One legend for all panels, below them."""
    entries = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    columns = len(entries) if len(entries) <= 5 else 4
    legend = figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=style.FONT,
    )
    for line in legend.get_lines():
        line.set_marker("")
