"""Positions of the values of a swept parameter on an axis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from grokplane.plot import style, ticks
from grokplane.plot.words import key_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINEAR, LOG, PLACES = "linear", "log", "places"
DECADE = 10  # smallest range of a log axis, unless its values are exactly geometric
EVEN = 0.05  # largest coefficient of variation of distances that count as equal
TICKED = 10  # up to this many numbers, each has a tick
NAMED, WIDE = 24, 40  # largest number of names on an axis, and of letters side by side without overlap


@dataclass(frozen=True, eq=False)
class Scale:
    """The axis of one parameter.

    Attributes:
        key: config key of the parameter, which labels the axis.
        labels: values in the order of the axis, as text.
        places: positions [values]: the values themselves, or 0, 1, ... if `kind` is `places`.
        kind: `log` for geometric spacing, `linear`, or `places` for names and for numbers with neither spacing.
        ordered: whether the values are numbers.
    """

    key: str
    labels: tuple[str, ...]
    places: np.ndarray
    kind: str
    ordered: bool

    def edges(self) -> np.ndarray:
        """Edges [values + 1] of cells around the positions: midpoints, geometric on a log axis."""
        at = np.log(self.places) if self.kind == LOG else self.places
        gaps = np.diff(at) / 2 if len(at) > 1 else np.array([0.5])
        edges = np.concatenate([[at[0] - gaps[0]], at[:-1] + gaps[: len(at) - 1], [at[-1] + gaps[-1]]])
        return np.exp(edges) if self.kind == LOG else edges

    def number(self, values: Iterable[Any]) -> np.ndarray:
        """Index of each value [rows]."""
        known = {label: number for number, label in enumerate(self.labels)}
        return np.array([known[text(value)] for value in values], dtype=int)

    def dress(self, axes: Axes, side: Literal["x", "y"]) -> None:
        """Set scale, ticks and label of an axis of a panel."""
        (axes.set_xscale if side == "x" else axes.set_yscale)(LOG if self.kind == LOG else LINEAR)
        axis = axes.xaxis if side == "x" else axes.yaxis
        words = key_words(self.key, " (log scale)" if self.kind == LOG else "")
        axis.set_label_text(words, {"fontsize": style.FONT + 1})
        if self.kind == PLACES or len(self.labels) <= TICKED:
            every = -(-len(self.labels) // NAMED)
            shown = self.labels[::every]
            axis.set_ticks(self.places[::every], shown)
            axis.set_ticks([], minor=True)
            if side == "x" and sum(map(len, shown)) > WIDE:
                axes.tick_params("x", labelrotation=30)
                axis.set_tick_params(labelrotation_mode="xtick")
        elif self.kind == LOG:
            axis.set_major_formatter(lambda value, _: ticks.number(value))


def scale(key: str, column: Iterable[Any], *, cells: bool = False) -> Scale:
    """Choose the scale for the values of a parameter; numbers ascend, names keep their order of appearance.

    Args:
        key: config key of the parameter.
        column: values, which may repeat.
        cells: make cells of equal size: numbers with neither even nor geometric spacing become places.
    """
    values = {text(value): value for value in column}
    ordered = all(_is_number(value) for value in values.values())
    if not ordered:
        return Scale(key, tuple(values), np.arange(len(values), dtype=float), PLACES, ordered)
    labels = sorted(values, key=lambda label: float(values[label]))
    numbers = np.array([float(values[label]) for label in labels])
    kind = _kind(numbers, cells=cells)
    places = np.arange(len(numbers), dtype=float) if kind == PLACES else numbers
    return Scale(key, tuple(labels), places, kind, ordered)


def text(value: Any) -> str:
    """Label of a parameter's value; numbers have six digits, None and NaN are `null`."""
    if value is None or value != value:
        return "null"
    if not _is_number(value):
        return str(value)
    return f"{value:.6g}"


def _is_number(value: Any) -> bool:
    from numbers import Real

    return isinstance(value, Real) and not isinstance(value, bool) and value == value


def _kind(numbers: np.ndarray, *, cells: bool) -> str:
    if _geometric(numbers):
        return LOG
    even = len(numbers) < 3 or _variation(np.diff(numbers)) < EVEN
    with_zero = numbers[0] == 0 and _geometric(numbers[1:])
    return PLACES if with_zero or (cells and not even) else LINEAR


def _geometric(numbers: np.ndarray) -> bool:
    """Whether numbers are positive and spaced geometrically: over at least a decade, or exactly."""
    if len(numbers) < 2 or numbers[0] <= 0:
        return False
    by_ratio, by_distance = _variation(np.diff(np.log(numbers))), _variation(np.diff(numbers))
    if numbers[-1] >= DECADE * numbers[0]:
        return by_ratio <= by_distance
    return len(numbers) > 2 and by_ratio < 0.01


def _variation(distances: np.ndarray) -> float:
    """Coefficient of variation: standard deviation divided by mean."""
    return float(distances.std() / distances.mean())
