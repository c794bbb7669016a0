"""The phases of a sweep's runs with label noise (`grokplane.phases`) over two parameters."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from grokplane.phases import PHASES
from grokplane.plot import heatmap, style
from grokplane.plot.regions import REGIONS, Region, ended

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

WIDTH = 7.2  # inches
NO_NOISE = "no label noise"
# In legend order. What means the same as a region of the other figures has its colour.
LOOKS = {
    "coexistence": Region(style.GREEN, "", "o"),
    "partial inversion": Region(style.SKY, "", "D"),
    "full inversion": Region(style.BLUE, "", "d"),
    "memorisation": REGIONS["memorised only"],
    "forgetting": REGIONS["fit lost"],
    "confusion": REGIONS["never fitted"],
    NO_NOISE: Region("#F7F2C4", "", "p"),
    **{name: REGIONS[name] for name in ("diverged", "failed", "unfinished")},
}


def has_phases(frame: pd.DataFrame) -> bool:
    """Whether the column `phase` has a value."""
    return "phase" in frame and bool(frame["phase"].isin(PHASES).any())


def phase_map(frame: pd.DataFrame, x: str, y: str, *, title: str = "", width: float = WIDTH) -> Figure:
    """The phase of each run over two parameters, in Doshi et al. 2023 (arXiv 2310.13061) noise and train fraction.

    A cell has the most frequent phase of its seeds, and of equally frequent ones the first in the order of the legend.
    If seeds disagree, the cell states how many of them have it. Runs that did not finish are marked by their status.

    Args:
        frame: one row per run, with the columns `phase` (None: no label noise), `status`, `x` and `y`.
        x: parameter of the horizontal axis.
        y: parameter of the vertical axis.
        title: title above the panel.
        width: width of the figure in inches.
    """
    over = heatmap.plane(frame, x, y)
    figure, (axes,) = heatmap.panels(over, title, width, count=1)
    names = _names(frame)
    keys, cell = np.unique(np.stack(over.rows, axis=1), axis=0, return_inverse=True)
    counts = [Counter(names[cell.reshape(-1) == number].tolist()) for number in range(len(keys))]
    shown = np.array([max(LOOKS, key=count.__getitem__) for count in counts])
    heatmap.fill(axes, over, keys, shown, LOOKS)
    agreeing = [(count[name], count.total()) for count, name in zip(counts, shown.tolist(), strict=True)]
    heatmap.legend(figure, shown, heatmap.note_shares(axes, over, keys, agreeing, "have this phase"), LOOKS)
    return figure


def _names(frame: pd.DataFrame) -> np.ndarray:
    """The entry of LOOKS for each row."""
    statuses = ended(frame)
    phases = frame["phase"].where(frame["phase"].isin(PHASES), NO_NOISE)
    return statuses.where(statuses != "", phases).to_numpy(dtype=object)
