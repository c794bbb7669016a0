"""Y axes: one notation for all ticks, and a minimum range so that noise does not fill an axis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from grokplane.plot import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLAT = 1e-3  # a smaller difference, relative to the largest value, is insignificant


def log_values(axes: Axes) -> None:
    """Set a log y axis of at least one decade for the lines drawn so far, so that its ticks are powers of ten."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < 10 * low:
        axes.set_ylim(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)))
    log_ticks(axes)


def least_span(axes: Axes, span: float) -> None:
    """Widen the y axis if noise would fill it, and draw a line at 0 if it is inside the axis.

    Args:
        axes: a panel with its lines.
        span: smallest range of the axis, centred on its values. If the values differ by less than a thousandth of the
            largest, the axis also includes 0.
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
    """Set ticks at powers of ten on a log y axis, also at 2 and 5 if it is short, in the format of `number`."""
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
    """Format a tick label: 0.001, 0.5, 20, 1,000; beyond that 1e-05 and 1e+06."""
    return f"{value:.0e}" if value and not 1e-4 <= abs(value) < 1e6 else f"{value:,.10g}"
