"""Medians over the seeds of a cell, with seeds that never reached a value counted as infinite."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from grokplane.marks import summarise
from grokplane.plot.regions import REGIONS, Outcome


@dataclass(frozen=True, eq=False)
class Cells:
    """Medians over rows; all arrays but the first are [cells].

    Attributes:
        keys: integers [cells, keys] by which the rows were grouped, in ascending order.
        value: median; NaN if it is not finite.
        region: most frequent region of the rows without a finite value if the median is not finite; else empty.
        low: lower end of the 95% bootstrap interval of the median (`grokplane.marks.summarise`); NaN if not finite.
        high: upper end; infinite if it is never reached, NaN if the lower end is not finite.
        reached: number of rows with a finite value.
        runs: number of rows.
    """

    keys: np.ndarray
    value: np.ndarray
    region: np.ndarray
    low: np.ndarray
    high: np.ndarray
    reached: np.ndarray
    runs: np.ndarray


def medians(outcome: Outcome, *keys: np.ndarray) -> Cells:
    """Median over the rows of each cell; infinite values (never reached) count, unknown values (NaN) do not.

    The median is therefore finite only if more than half of the known seeds reached a value.

    Args:
        outcome: values and regions of the rows.
        keys: integers [rows] each; rows that agree in all keys form one cell.
    """
    found, cell = np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)
    members = [cell.reshape(-1) == number for number in range(len(found))]
    parts = [_median(outcome.values[rows], outcome.regions[rows]) for rows in members]
    return Cells(found, *(np.array(part) for part in zip(*parts, strict=True)))


def _median(values: np.ndarray, regions: np.ndarray) -> tuple[float, str, float, float, int, int]:
    known, finite = values[~np.isnan(values)], values[np.isfinite(values)]
    over = summarise(known.tolist())
    low = np.nan if over.low is None else over.low
    high = np.nan if over.low is None else np.inf if over.high is None else over.high
    value = float(np.median(known)) if known.size else np.nan
    if np.isfinite(value):
        return value, "", low, high, len(finite), len(values)
    lost = Counter(regions[np.isinf(values)] if known.size else regions)
    return np.nan, max(("", *REGIONS), key=lambda name: lost[name]), low, high, len(finite), len(values)
