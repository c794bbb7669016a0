"""Shared style of all figures: a palette for colour-blind readers, a step axis that shows step 0, the grok marks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.colors import Colormap, Normalize

LineStyle = str | tuple[float, tuple[float, ...]]

# Okabe and Ito's palette.
BLUE, VERMILION, BLACK, GREY = "#0072B2", "#D55E00", "#000000", "#767676"
GREEN, PURPLE, ORANGE, SKY = "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
WINE = "#882255"  # of Tol's palette
TRAIN, TEST, OOD = BLUE, VERMILION, WINE
FONT = 10
STEP = "step (log scale from 1)"
MARK = {"linestyle": (0, (4, 2)), "linewidth": 1.2}
_STEPS = {"linthresh": 1, "linscale": 0.4}


def plain(axes: Axes, ylabel: str) -> None:
    """Style a panel: a light grid, no box, readable labels."""
    axes.set_ylabel(ylabel, fontsize=FONT + 1)
    axes.tick_params(labelsize=FONT)
    axes.grid(color="#E4E4E4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def step_axis(axes: Axes, last_step: int) -> None:
    """Set a log axis of steps from 1 on, with a short linear part from 0 to 1 so that step 0 is visible."""
    axes.set_xscale("symlog", **_STEPS, subs=range(2, 10))
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    low, high = axes.transData.transform([(0, 0), (last_step, 0)])[:, 0]
    margin = 0.02 * (high - low)
    left, right = axes.transData.inverted().transform([(low - margin, 0), (high + margin, 0)])[:, 0]
    axes.set_xlim(left, right)


def step_edges(axes: Axes, steps: np.ndarray) -> np.ndarray:
    """Edges [steps + 1] of cells around ascending steps [steps]: midpoints on a `step_axis`, and its ends."""
    at = axes.get_xaxis().get_transform()
    places = at.transform(steps.astype(float))
    inner = at.inverted().transform((places[:-1] + places[1:]) / 2)
    left, right = axes.get_xlim()
    return np.concatenate([[left], inner, [right]])


def step_colors(last_step: int) -> tuple[Colormap, Normalize]:
    """Colours for steps from dark (step 0) to light, spaced as on `step_axis`."""
    from matplotlib.colors import SymLogNorm

    return pale(), SymLogNorm(**_STEPS, vmin=0, vmax=max(1, last_step))


@cache
def pale() -> Colormap:
    """Viridis without its last tenth, which is too pale on white and too close to the orange of a region."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["viridis"]([0.9 * place / 255 for place in range(256)]), "step")


def step_bar(bar: Colorbar, last_step: int) -> None:
    """Label a colour bar of `step_colors` with 0 and the powers of ten."""
    powers = [10**power for power in range(math.floor(math.log10(max(1, last_step))) + 1)]
    bar.set_ticks([0, *powers], labels=[f"{step:,}" for step in (0, *powers)])
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=FONT)
    bar.set_label(STEP, fontsize=FONT + 1)


def cycle(count: int) -> list[str]:
    """`count` colours for unordered items; viridis if there are more than six."""
    return [BLUE, VERMILION, GREEN, PURPLE, ORANGE, BLACK][:count] if count <= 6 else ramp(count)


def ramp(count: int) -> list[str]:
    """`count` colours of viridis from dark to light, without its last tenth (see `pale`)."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["viridis"](0.9 * number / max(1, count - 1))) for number in range(count)]


def gapped_line(
    axes: Axes,
    steps: np.ndarray,
    values: np.ndarray,
    *,
    color: str,
    label: str,
    linestyle: LineStyle = "-",
    alpha: float = 1.0,
) -> np.ndarray:
    """Draw a line with gaps where values are not finite; return its finite values.

    A single value between two gaps is drawn as a dot.
    """
    finite = np.isfinite(values)
    alone = finite & ~np.append(False, finite[:-1]) & ~np.append(finite[1:], False)
    axes.plot(
        steps,
        np.where(finite, values, np.nan),
        color=color,
        linestyle=linestyle,
        linewidth=1.6,
        marker="o",
        markersize=4,
        markevery=alone,
        alpha=alpha,
        label=label,
    )
    return values[finite]


def step_label(axes: Axes) -> None:
    """Label the step axis; only the lowest panel of a figure needs it."""
    axes.set_xlabel(STEP, fontsize=FONT + 1)


def note(axes: Axes, text: str) -> None:
    """Write a line of text in the centre of a panel without values."""
    axes.set_yticks([])
    axes.text(
        0.5,
        0.5,
        text,
        transform=axes.transAxes,
        ha="center",
        va="center",
        fontsize=FONT,
        color=GREY,
        backgroundcolor="white",
    )


def level_line(axes: Axes, level: float, label: str) -> None:
    """Draw a thin horizontal line with a legend entry."""
    axes.axhline(level, color=GREY, linestyle=":", linewidth=1, label=label, zorder=1.5)


def mark_lines(axes: Axes, marks: Mapping[str, int | None], *, cased: bool = False) -> None:
    """Draw vertical lines at `train_step` and `test_step`, unless the mark is None or missing.

    Args:
        axes: the panel.
        marks: as for `curves`.
        cased: draw the lines with a white outline, above the colours of the panel.
    """
    for key, color in (("train_step", TRAIN), ("test_step", TEST)):
        step = marks.get(key)
        if step is not None and cased:
            axes.axvline(step, color="white", linewidth=2.2, zorder=2.5)
        if step is not None:
            axes.axvline(step, color=color, **MARK, zorder=2.6 if cased else 1.5)


def mark_words(marks: Mapping[str, int | None]) -> list[tuple[str, str, int]]:
    """Text, colour and step of each mark line."""
    fitted, generalised, found = marks.get("train_step"), marks.get("test_step"), []
    if fitted is not None:
        found.append((f"fitted at step {fitted:,}", TRAIN, fitted))
    if generalised is not None:
        delay = "" if fitted is None else f" (delay {generalised - fitted:,})"
        found.append((f"generalised at step {generalised:,}{delay}", TEST, generalised))
    return found


def mark_labels(axes: Axes, marks: Mapping[str, int | None]) -> None:
    """Write the texts of the mark lines above a panel, on one line each so that close marks do not overlap."""
    for line, (words, color, step) in enumerate(mark_words(marks)):
        above(axes, step, words, 3 + line * (2 + 1.3 * FONT), color)


def above(axes: Axes, at: float, text: str, lift: float, color: str) -> None:
    """Write text `lift` points above a panel, aligned left, centred or right at a value, so that it fits."""
    place = axes.transAxes.inverted().transform(axes.transData.transform((at, 0)))[0]
    side = "left" if place < 1 / 3 else "center" if place < 2 / 3 else "right"
    axes.annotate(
        text,
        (at, 1),
        (0, lift),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        ha=side,
        va="bottom",
        fontsize=FONT,
        color=color,
    )
