"""The figure of a sweep, chosen by the shape of its grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grokplane.plot.landscape import landscape
from grokplane.plot.phase import phase
from grokplane.plot.phase_map import WIDTH, has_phases, phase_map
from grokplane.plot.regions import COLUMNS, THRESHOLD, classify
from grokplane.plot.scales import text
from grokplane.plot.spread import spread

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["classify", "landscape", "phase", "phases_figure", "spread", "sweep_figure"]

SEED, HELD_NORM = "seed", "rules.constant_norm.alpha"
TRAIN_SIZES = ("data.train_points", "data.train_fraction")


def sweep_figure(
    frame: pd.DataFrame,
    parameters: Sequence[str],
    *,
    threshold: float = THRESHOLD,
    title: str = "",
    width: float | None = None,
) -> Figure:
    """Draw the figure of a sweep; its kind depends on the number of parameters, besides `seed`, that vary.

    - Two: the phase diagram (`phase`), with the first parameter on the horizontal axis. For a constant norm and a
      number of training points, the Omnigrok landscape (`landscape`), with the norm on the horizontal axis.
    - One: a curve over numbers, or a strip plot over names (`spread`).

    Args:
        frame: one row per cell, with the parameters by their config keys, `status`, `grok.train_step`,
            `grok.test_step` (NaN or None: never), `last.Acc/train` and `last.Acc/test`; other columns are ignored.
        parameters: swept keys.
        threshold: accuracy that counted as fitted and generalised, if there is no column `grok.threshold`.
        title: title above the panels.
        width: width of the figure in inches; None uses the default of its kind.

    Raises:
        ValueError: if a column is missing, there is no row, or none or more than two parameters besides the seed vary.
    """
    absent = [name for name in (*parameters, *COLUMNS) if name not in frame]
    if absent or not len(frame):
        raise ValueError(f"no figure of this sweep: {'no column ' + ', '.join(absent) if absent else 'no cells'}")
    varied = _varied(frame, parameters)
    wide = {} if width is None else {"width": width}
    if len(varied) == 1:
        return spread(frame, varied[0], threshold=threshold, title=title, **wide)
    if len(varied) != 2:
        named = f" ({', '.join(varied)})" if varied else ""
        raise ValueError(
            f"no figure of this sweep: {len(varied)} parameters vary besides {SEED}{named}, allowed: 1 or 2"
        )
    if HELD_NORM in varied and set(varied) & set(TRAIN_SIZES):
        varied.remove(HELD_NORM)
        return landscape(frame, HELD_NORM, varied[0], title=title, **wide)
    return phase(frame, varied[0], varied[1], threshold=threshold, title=title, **wide)


def phases_figure(
    frame: pd.DataFrame, parameters: Sequence[str], *, title: str = "", width: float = WIDTH
) -> Figure | None:
    """Draw the phases of runs with label noise (`phase_map`), with the first parameter on the horizontal axis.

    Args:
        frame: as for `sweep_figure`, with the column `phase`.
        parameters: swept keys.
        title: title above the panel.
        width: width of the figure in inches.

    Returns:
        None if no run has a phase, or if not just two parameters vary besides the seed.
    """
    varied = _varied(frame, parameters)
    if len(varied) != 2 or not has_phases(frame):
        return None
    return phase_map(frame, varied[0], varied[1], title=title, width=width)


def _varied(frame: pd.DataFrame, parameters: Sequence[str]) -> list[str]:
    """The parameters, besides the seed, with several values."""
    return [key for key in parameters if key != SEED and len({text(value) for value in frame[key]}) > 1]
