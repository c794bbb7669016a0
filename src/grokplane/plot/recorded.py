"""Arrays of a run over its log points, and the log points that a figure of a few stages shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from grokplane.plot import style


class Recorded(Protocol):
    """An array of a run, such as those of `grokplane.record.load_arrays`."""

    @property
    def steps(self) -> np.ndarray:
        """Number of updates [T] int64, ascending."""
        ...

    @property
    def values(self) -> np.ndarray:
        """The array at each step [T, ...]."""
        ...


Arrays = Mapping[str, Recorded]


def named(arrays: Arrays, prefix: str) -> dict[str, Recorded]:
    """The arrays `<prefix>/<layer>`, by layer.

    Raises:
        ValueError: if there are none.
    """
    found = {name.partition("/")[2]: one for name, one in arrays.items() if name.startswith(f"{prefix}/")}
    if not found:
        raise ValueError(f"no arrays {prefix}/<layer> were recorded")
    return found


def stages(steps: np.ndarray, marks: Mapping[str, int | None]) -> dict[int, str]:
    """Index of the first log point, of the first ones at or after the marks, and of the last one, with their names.

    A log point that is already there is not shown twice; a mark after the last log point is left out.

    Args:
        steps: of the log points [T], ascending.
        marks: as for `curves`.
    """
    asked = {"fitted": marks.get("train_step"), "generalised": marks.get("test_step")}
    found = {len(steps) - 1: "end", 0: "start"}
    for name, step in asked.items():
        if step is not None and step <= steps[-1]:
            found.setdefault(int(np.searchsorted(steps, step)), name)
    return {index: f"{found[index]}\nstep {steps[index]:,}" for index in sorted(found)}


def mark_line(marks: Mapping[str, int | None]) -> str:
    """The marks in words, for a heading; "" without marks."""
    return ", ".join(words for words, _, _ in style.mark_words(marks))
