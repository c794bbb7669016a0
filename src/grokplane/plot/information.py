"""The columns of mutual information in a frame of recorded rows, as trajectories on the information plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grokplane.plot.bands import over_runs

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

INPUT, LABEL = "MI(X;L)", "MI(L;Y)"
SUBSETS = {"train": "training subset", "eval": "held-out subset"}


@dataclass(frozen=True)
class Trajectory:
    """The way of one layer over the plane on one subset; arrays are [points], by ascending step, in nats.

    Attributes:
        layer: its name.
        subset: `train` or `eval`.
        steps: updates done.
        x: I(X;L), y: I(L;Y); NaN where either is not known. With several runs, their means.
        x_error: [2, points], how far below and above x the error bar reaches: the error logged with the value; with
            several runs, to the smallest and the largest of them. NaN where unknown.
        y_error: the same of y.
        entropy: H(Y) of the subset in nats, which no I(L;Y) exceeds; NaN if it was not logged.
        log_points: ln n, which no estimate from n points can tell from infinity; NaN if it was not logged.
    """

    layer: str
    subset: str
    steps: np.ndarray
    x: np.ndarray
    y: np.ndarray
    x_error: np.ndarray
    y_error: np.ndarray
    entropy: float
    log_points: float


def column(quantity: str, subset: str, layer: str) -> str:
    """The column of a quantity such as `MI(X;L)` or `MI(X;L)_Errors`."""
    return f"{quantity}_{subset}/{layer}"


def check_subset(subset: str) -> None:
    """Refuse what is neither `train` nor `eval`."""
    if subset not in SUBSETS:
        raise ValueError(f"subset {subset!r}: allowed: {', '.join(SUBSETS)}")


def has_information(rows: pd.DataFrame, subsets: Sequence[str]) -> bool:
    """Whether a layer's plane has a finite value on one of the subsets; a run that diverges at once has none."""
    try:
        information_layers(rows, subsets)
    except ValueError:
        return False
    return True


def information_layers(rows: pd.DataFrame, subsets: Sequence[str] = ("train", "eval")) -> list[str]:
    """The layers whose I(X;L) and I(L;Y) the frame has, on each of the subsets; in the order of the columns.

    Raises:
        ValueError: for another subset, and if there is no such layer: the run was trained with mi=off, or is too old.
    """
    import numpy as np

    for subset in subsets:
        check_subset(subset)
    prefix = column(INPUT, subsets[0], "")
    names = [str(name).removeprefix(prefix) for name in rows.columns if str(name).startswith(prefix)]
    wanted = {name: [column(part, subset, name) for part in (INPUT, LABEL) for subset in subsets] for name in names}
    found = [name for name, columns in wanted.items() if all(one in rows for one in columns)]
    if not any(np.isfinite(rows[wanted[name]].to_numpy(dtype=float, na_value=np.nan)).any() for name in found):
        pair = " and ".join(column(part, subsets[0], "<layer>") for part in (INPUT, LABEL))
        why = "was the run trained with mi=off?" if not found else "all of it is null"
        raise ValueError(f"no mutual information was recorded (columns {pair}): {why}")
    return found


def trajectory(rows: pd.DataFrame, subset: str, layer: str) -> Trajectory:
    """The layer's way over the plane; see `over_runs` for how several runs become one."""
    import numpy as np

    x, y = (over_runs(rows, column(quantity, subset, layer)) for quantity in (INPUT, LABEL))
    known = np.isfinite(x.mean) & np.isfinite(y.mean)
    errors = []
    for quantity, band in ((INPUT, x), (LABEL, y)):
        logged = column(f"{quantity}_Errors", subset, layer)
        if band.several:
            errors.append(np.stack([band.mean - band.low, band.high - band.mean]))
        else:
            error = over_runs(rows, logged).mean if logged in rows else np.full(len(band.steps), np.nan)
            errors.append(np.stack([error, error]))
    return Trajectory(
        layer,
        subset,
        x.steps,
        np.where(known, x.mean, np.nan),
        np.where(known, y.mean, np.nan),
        *errors,
        entropy=constant(rows, f"H(Y)_{subset}"),
        log_points=constant(rows, f"ln n_{subset}"),
    )


def constant(rows: pd.DataFrame, name: str) -> float:
    """A column's value where it does not change during a run, over several runs the largest; NaN if there is none."""
    import numpy as np

    values = rows[name].to_numpy(dtype=float, na_value=np.nan) if name in rows else np.empty(0)
    return float(max(values[np.isfinite(values)], default=np.nan))


def error_meaning(rows: pd.DataFrame) -> str:
    """What the bars of a frame's trajectories are."""
    runs = len(set(rows["run"])) if "run" in rows else 1
    if runs > 1:
        return f"smallest to largest of {runs} runs"
    return "error as logged (standard error or half a bracket)"
