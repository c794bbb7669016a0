"""What became of a sweep's runs: the regions of a phase diagram, and figures that know when there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grokplane.plot import style

if TYPE_CHECKING:
    import pandas as pd

THRESHOLD = 0.99
GENERALISED = "generalised"
COLUMNS = ("status", "grok.train_step", "grok.test_step", "last.Acc/train", "last.Acc/test")


@dataclass(frozen=True)
class Region:
    """How cells that never generalised look: their colour in a diagram, hatch, lines and mark."""

    color: str
    hatch: str
    marker: str
    lines: str = "#FFFFFF"


# In the order of legends; colours that are on none of the scales they stand beside.
REGIONS = {
    "memorised only": Region("#F3C48F", "", "^"),
    "fit lost": Region(style.PURPLE, "//", "v"),
    "never fitted": Region("#C4C4C4", "", "s"),
    "diverged": Region(style.VERMILION, "xx", "X"),
    "failed": Region("#3A3A3A", "", "P"),
    "unfinished": Region("#FFFFFF", "..", "o", style.GREY),
}
UNKNOWN = ("failed", "unfinished")  # says nothing about what the cell would have done


@dataclass(frozen=True)
class Outcome:
    """One figure for every row of a frame, and what to say where it has none.

    Attributes:
        values: [rows], smaller is better. Infinite: never reached, or lost by diverging. NaN: nobody knows, since
            the run failed or has not ended.
        regions: [rows], the region's name; counts where the value is not finite.
    """

    values: np.ndarray
    regions: np.ndarray


def classify(frame: pd.DataFrame, threshold: float = THRESHOLD) -> pd.Series:
    """The region of each row; the first of these that holds.

    - `generalised`: test accuracy reached the threshold (`grok.test_step` is there), whatever came afterwards.
    - `failed`: the run ended with an error, or could not be built.
    - `diverged`: a training loss was not finite.
    - `unfinished`: interrupted, killed, running or not begun.
    - `never fitted`: train accuracy never reached the threshold.
    - `fit lost`: train accuracy once reached it, but is below it at the end.
    - `memorised only`: train accuracy reached it and is there at the end.

    Liu et al. 2022, "Towards understanding grokking: an effective theory of representation learning" (arXiv
    2205.10343), tell four phases apart by a threshold of 0.9 and a budget of 1e5 steps. Their comprehension and
    grokking (test follows train within 1,000 steps, or later) are both `generalised` here, told apart by `grok.delay`.
    Their memorization (fitted, never generalised) is `memorised only` and `fit lost` together, their confusion (not
    fitted) is `never fitted`: a fit that did not last is a region of its own here.

    Args:
        frame: a row for each run; `status`, `grok.train_step`, `grok.test_step` (NaN or None: never), `last.Acc/train`.
        threshold: the accuracy that counts as fitted where the frame has no column `grok.threshold`; the steps already
            stand for it.

    Returns:
        Names, with the frame's index.
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
    """The accuracy [rows] that counted as fitted and generalised: each row's own `grok.threshold` where it has one."""
    own = numbers(frame, "grok.threshold") if "grok.threshold" in frame else np.full(len(frame), np.nan)
    return np.where(np.isnan(own), threshold, own)


def numbers(frame: pd.DataFrame, column: str) -> np.ndarray:
    """A column as floats [rows]; None and NA are NaN."""
    return frame[column].astype("Float64").to_numpy(dtype=float, na_value=np.nan)


def steps_to_fit(frame: pd.DataFrame) -> Outcome:
    """`grok.train_step`; the regions are left empty."""
    return Outcome(_reached(frame, "grok.train_step"), np.full(len(frame), ""))


def steps_to_generalise(frame: pd.DataFrame, threshold: float = THRESHOLD) -> Outcome:
    """`grok.test_step`, with the regions of `classify`."""
    return Outcome(_reached(frame, "grok.test_step"), classify(frame, threshold).to_numpy())


def final_error(frame: pd.DataFrame, subset: str) -> Outcome:
    """1 - `last.Acc/<subset>` of the runs that finished; the others' regions are those of their status alone.

    An accuracy from the midst of a run, or of weights that are not numbers, is not a final one.
    """
    regions = ended(frame).to_numpy()
    lost = np.where(regions == "diverged", np.inf, np.nan)
    return Outcome(np.where(regions == "", 1 - numbers(frame, f"last.Acc/{subset}"), lost), regions)


def ended(frame: pd.DataFrame) -> pd.Series:
    """Each row's region by its status alone: `failed`, `diverged`, `unfinished`, or empty where it finished."""
    import pandas as pd

    known = {"finished": "", "failed": "failed", "diverged": "diverged"}
    return pd.Series([known.get(status, "unfinished") for status in frame["status"]], frame.index, name="region")


def _reached(frame: pd.DataFrame, column: str) -> np.ndarray:
    never = np.where(np.isin(ended(frame), UNKNOWN), np.nan, np.inf)
    steps = numbers(frame, column)
    return np.where(np.isnan(steps), never, steps)
