"""Outcomes of a sweep's runs: the regions of a phase diagram, and values that may never have been reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grokplane.plot import style

if TYPE_CHECKING:
    import pandas as pd

THRESHOLD = 0.99
GENERALISED, NOT_STABLE = "generalised", "not stable"
COLUMNS = ("status", "grok.train_step", "grok.test_step", "last.Acc/train", "last.Acc/test")


@dataclass(frozen=True)
class Region:
    """Style of cells that never generalised: colour in a diagram, hatch, marker and hatch colour."""

    color: str
    hatch: str
    marker: str
    lines: str = "#FFFFFF"


# In legend order; the colours occur on none of the colour scales that they appear with.
REGIONS = {
    "memorised only": Region("#F3C48F", "", "^"),
    "fit lost": Region(style.PURPLE, "//", "v"),
    "never fitted": Region("#C4C4C4", "", "s"),
    "not stable": Region("#E8A6C8", "\\\\", "D"),
    "diverged": Region(style.VERMILION, "xx", "X"),
    "failed": Region("#3A3A3A", "", "P"),
    "unfinished": Region("#FFFFFF", "..", "o", style.GREY),
}
UNKNOWN = ("failed", "unfinished")  # the outcome of the cell is unknown


@dataclass(frozen=True)
class Outcome:
    """A value for every row of a frame, and a region for rows without a finite value.

    Attributes:
        values: values [rows]; smaller is better. Infinite: never reached, or the run diverged. NaN: unknown, because
            the run failed or has not ended.
        regions: name of the region [rows], used if the value is not finite.
    """

    values: np.ndarray
    regions: np.ndarray


def classify(frame: pd.DataFrame, threshold: float = THRESHOLD) -> pd.Series:
    """Region of each row: the first of the following that applies.

    - `generalised`: test accuracy reached the threshold (`grok.test_step` is set), whatever happened afterwards.
    - `failed`: the run ended with an error, or could not be built.
    - `diverged`: a training loss was not finite.
    - `unfinished`: interrupted, killed, running or not started.
    - `never fitted`: train accuracy never reached the threshold.
    - `fit lost`: train accuracy reached the threshold, but is below it at the end.
    - `memorised only`: train accuracy reached the threshold and is at or above it at the end.

    Liu et al. 2022, "Towards understanding grokking: an effective theory of representation learning" (arXiv
    2205.10343), distinguish four phases by a threshold of 0.9 and a budget of 1e5 steps. Their comprehension and
    grokking (test follows train within 1,000 steps, or later) are both `generalised` here and differ in `grok.delay`.
    Their memorization (fitted, never generalised) is `memorised only` or `fit lost` here, and their confusion (not
    fitted) is `never fitted`.

    Args:
        frame: one row per run; `status`, `grok.train_step`, `grok.test_step` (NaN or None: never), `last.Acc/train`.
        threshold: accuracy that counts as fitted if the frame has no column `grok.threshold`; the step columns already
            refer to it.

    Returns:
        Names of the regions, with the index of the frame.
    """
    import pandas as pd

    status = ended(frame)
    rules = {
        GENERALISED: ~np.isnan(numbers(frame, "grok.test_step")),
        **{name: status == name for name in ("failed", "diverged", "unfinished")},
        "never fitted": np.isnan(numbers(frame, "grok.train_step")),
        "fit lost": numbers(frame, "last.Acc/train") < thresholds(frame, threshold),
    }
    return pd.Series(np.select(list(rules.values()), list(rules), "memorised only"), frame.index, name="region")


def thresholds(frame: pd.DataFrame, threshold: float = THRESHOLD) -> np.ndarray:
    """Accuracy [rows] that counted as fitted and generalised: `grok.threshold` of the row, or `threshold`."""
    own = numbers(frame, "grok.threshold") if "grok.threshold" in frame else np.full(len(frame), np.nan)
    return np.where(np.isnan(own), threshold, own)


def numbers(frame: pd.DataFrame, column: str) -> np.ndarray:
    """A column as floats [rows]; None and NA are NaN."""
    return frame[column].astype("Float64").to_numpy(dtype=float, na_value=np.nan)


def steps_to_fit(frame: pd.DataFrame) -> Outcome:
    """`grok.train_step`, with empty regions."""
    return Outcome(_reached(frame, "grok.train_step"), np.full(len(frame), ""))


def steps_to_generalise(frame: pd.DataFrame, threshold: float = THRESHOLD) -> Outcome:
    """`grok.test_step`, with the regions of `classify`."""
    return Outcome(_reached(frame, "grok.test_step"), classify(frame, threshold).to_numpy())


def steps_to_stay(frame: pd.DataFrame, threshold: float = THRESHOLD) -> Outcome | None:
    """`grok.stable_step` of finished runs, with the regions of `classify`; None if no run that generalised has marks.

    A run that diverged did not stay at the threshold; of an unfinished run, and of one without these marks (begun by an
    earlier version), it is not known. The region of a run that generalised and was below the threshold at its end is
    `not stable`.
    """
    if not {"grok.stable_step", "grok.collapses"} <= {*frame}:
        return None
    regions, marked = classify(frame, threshold).to_numpy(), ~np.isnan(numbers(frame, "grok.collapses"))
    if not (marked & (regions == GENERALISED)).any():
        return None
    over, steps = ended(frame).to_numpy(), numbers(frame, "grok.stable_step")
    lost = np.where(np.isin(over, UNKNOWN) | ~marked, np.nan, np.inf)
    values = np.where((over == "") & ~np.isnan(steps), steps, lost)
    ends = np.select([over != "", marked], [over, NOT_STABLE], "")
    return Outcome(values, np.where(regions == GENERALISED, ends, regions))


def final_error(frame: pd.DataFrame, subset: str) -> Outcome:
    """1 - `last.Acc/<subset>` of finished runs; the region of other runs is given by their status.

    The last accuracy of an unfinished or diverged run is not a final accuracy.
    """
    regions = ended(frame).to_numpy()
    lost = np.where(regions == "diverged", np.inf, np.nan)
    return Outcome(np.where(regions == "", 1 - numbers(frame, f"last.Acc/{subset}"), lost), regions)


def ended(frame: pd.DataFrame) -> pd.Series:
    """Region of each row by its status: `failed`, `diverged`, `unfinished`, or empty if the run finished."""
    import pandas as pd

    known = {"finished": "", "failed": "failed", "diverged": "diverged"}
    return pd.Series([known.get(status, "unfinished") for status in frame["status"]], frame.index, name="region")


def _reached(frame: pd.DataFrame, column: str) -> np.ndarray:
    never = np.where(np.isin(ended(frame), UNKNOWN), np.nan, np.inf)
    steps = numbers(frame, column)
    return np.where(np.isnan(steps), never, steps)
