"""Y axes: one notation for all ticks, and no axis that noise fills."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from grokplane.plot import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLAT = 1e-3  # of the largest value: a difference that shows nothing


def log_values(axes: Axes) -> None:
    """A log y axis for the lines drawn so far, at least one decade long, so that its ticks are powers of ten."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < 10 * low:
        axes.set_ylim(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)))
    log_ticks(axes)


def least_span(axes: Axes, span: float) -> None:
    """Widen the y axis around its values where noise would fill it, and draw the line of 0 where it is in sight.

    Args:
        axes: a panel with its lines.
        span: the least that the axis is to span, around the middle of its values; and an axis whose values differ by
            less than a thousandth of the largest reaches down to 0.
    """
    low, high = axes.get_ylim()
    largest = max(abs(low), abs(high))
    if high - low < FLAT * largest:
        low, high = min(low, -0.1 * high), max(high, -0.1 * low)
    if high - low < span:
        low, high = (low + high - span) / 2, (low + high + span) / 2
    axes.set_ylim(low, high)
    if low < 0 < high:
        axes.axhline(0, color=style.GREY, linewidth=0.8, zorder=1.5, label="_zero")


def log_ticks(axes: Axes) -> None:
    """Powers of ten on a log y axis, between them 2 and 5 where it is short; all of them written as `number` does."""
    from matplotlib.ticker import NullFormatter

    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter(lambda value, _: number(value))
    if low > 0 and high < 100 * low:
        ticks = [
            step * 10**power for power in range(-30, 30) for step in (1, 2, 5) if low <= step * 10.0**power <= high
        ]
        axes.set_yticks(ticks)
    axes.yaxis.set_minor_formatter(NullFormatter())


def number(value: float) -> str:
    """A tick in the one notation of all figures: 0.001, 0.5, 20, 1,000; 1e-05 and 1e+06 beyond."""
    return f"{value:.0e}" if value and not 1e-4 <= abs(value) < 1e6 else f"{value:,.10g}"
