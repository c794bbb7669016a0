"""Medians over the seeds of a cell that neither drop nor flatter those without a value."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from grokplane.plot.regions import REGIONS, Outcome


@dataclass(frozen=True, eq=False)
class Cells:
    """Medians over rows; all arrays but the first are [cells].

    Attributes:
        keys: [cells, keys], integers by which the rows were put together, in ascending order.
        value: the median; NaN where it is not finite.
        region: the most frequent one of the rows without a finite value, where the median is not finite; else empty.
        low: the smallest finite value; NaN without any.
        high: the largest finite value; NaN without any.
        reached: rows with a finite value.
        runs: all rows.
    """

    keys: np.ndarray
    value: np.ndarray
    region: np.ndarray
    low: np.ndarray
    high: np.ndarray
    reached: np.ndarray
    runs: np.ndarray


def medians(outcome: Outcome, *keys: np.ndarray) -> Cells:
    """The median over the rows of each cell, where never counts as infinitely late and what is unknown not at all.

    Half of the seeds are thus not enough for a finite median.

    Args:
        outcome: of the rows.
        keys: integers [rows] each; rows that agree in all are one cell.
    """
    found, cell = np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)
    members = [cell.reshape(-1) == number for number in range(len(found))]
    parts = [_median(outcome.values[rows], outcome.regions[rows]) for rows in members]
    return Cells(found, *(np.array(part) for part in zip(*parts, strict=True)))


def _median(values: np.ndarray, regions: np.ndarray) -> tuple[float, str, float, float, int, int]:
    known, finite = values[~np.isnan(values)], values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (np.nan, np.nan)
    value = float(np.median(known)) if known.size else np.nan
    if np.isfinite(value):
        return value, "", low, high, len(finite), len(values)
    lost = Counter(regions[np.isinf(values)] if known.size else regions)
    return np.nan, max(("", *REGIONS), key=lambda name: lost[name]), low, high, len(finite), len(values)
