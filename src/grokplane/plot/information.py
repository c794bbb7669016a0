"""The columns of mutual information in a frame of recorded rows, as trajectories on the information plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grokplane.plot.bands import over_runs
from grokplane.plot.measured import frame_measured
from grokplane.plot.words import SUBSETS

if TYPE_CHECKING:
    import pandas as pd

INPUT, LABEL = "MI(X;L)", "MI(L;Y)"


@dataclass(frozen=True)
class Limit:
    """An upper bound of a quantity in nats (NaN if unknown), and its name."""

    nats: float
    name: str


@dataclass(frozen=True)
class Trajectory:
    """The trajectory of one layer on the plane for one subset; arrays are [points], by ascending step, in nats.

    Attributes:
        layer: name of the layer.
        subset: `train`, `eval` or `ood`.
        steps: number of updates.
        x: I(X;L), y: I(L;Y); both NaN if either is unknown. With several runs, their means.
        x_error: lengths of the error bar below and above x [2, points]: the logged standard error or, with several
            runs, the distances to the minimum and the maximum. NaN if unknown.
        y_error: the same for y.
        entropy: H(Y) of the subset, the upper bound of I(L;Y).
        ceiling: the upper bound of I(X;L), see `ceiling`.
    """

    layer: str
    subset: str
    steps: np.ndarray
    x: np.ndarray
    y: np.ndarray
    x_error: np.ndarray
    y_error: np.ndarray
    entropy: Limit
    ceiling: Limit


def column(quantity: str, subset: str, layer: str) -> str:
    """Column name of a quantity such as `MI(X;L)` or `MI(X;L)_Errors`."""
    return f"{quantity}_{subset}/{layer}"


def level_columns(rows: pd.DataFrame, quantity: str, subset: str, layer: str, own: float) -> dict[float, str]:
    """Columns of a quantity by resolution r, in ascending order.

    Args:
        rows: a frame.
        quantity, subset, layer: as for `column`.
        own: resolution of the plane, which its column names do not include; with NaN (unknown) they are left out.
    """
    import math

    ending, plane = column("", subset, layer), column(quantity, subset, layer)
    found = {} if math.isnan(own) or plane not in rows else {own: plane}
    for name in map(str, rows.columns):
        if name.startswith(f"{quantity}@") and name.endswith(ending):
            level = name[len(quantity) + 1 : -len(ending)]
            found |= {float(level): name} if "_" not in level else {}
    return dict(sorted(found.items()))


def check_subset(subset: str) -> None:
    """Raise ValueError unless the subset is `train`, `eval` or `ood`."""
    if subset not in SUBSETS:
        raise ValueError(f"subset {subset!r}: allowed: {', '.join(SUBSETS)}")


def has_information(
    rows: pd.DataFrame, subsets: Sequence[str] = ("train", "eval"), quantities: Sequence[str] = (INPUT, LABEL)
) -> bool:
    """Whether some layer has a finite value on one of the subsets; a run that diverges at once has none.

    The defaults are the subsets and quantities of the information planes.
    """
    try:
        information_layers(rows, subsets, quantities)
    except ValueError:
        return False
    return True


def information_layers(
    rows: pd.DataFrame, subsets: Sequence[str] = ("train", "eval"), quantities: Sequence[str] = (INPUT, LABEL)
) -> list[str]:
    """Layers for which the frame has all quantities on each of the subsets, in column order.

    Raises:
        ValueError: for another subset, and if there is no such layer: the run was trained with mi=off, or is too old.
    """
    for subset in subsets:
        check_subset(subset)
    prefix = column(quantities[0], subsets[0], "")
    names = [str(name).removeprefix(prefix) for name in rows.columns if str(name).startswith(prefix)]
    wanted = {name: [column(part, subset, name) for part in quantities for subset in subsets] for name in names}
    found = [name for name, columns in wanted.items() if all(one in rows for one in columns)]
    if not any(np.isfinite(rows[wanted[name]].to_numpy(dtype=float, na_value=np.nan)).any() for name in found):
        pair = " and ".join(column(part, subsets[0], "<layer>") for part in quantities)
        why = "was the run trained with mi=off?" if not found else "all of it is null"
        raise ValueError(f"no mutual information was recorded (columns {pair}): {why}")
    return found


def trajectory(rows: pd.DataFrame, subset: str, layer: str) -> Trajectory:
    """Trajectory of a layer on the plane; see `over_runs` for the combination of several runs."""
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
        entropy=Limit(constant(rows, f"H(Y)_{subset}"), "H(Y)"),
        ceiling=ceiling(rows, subset, frame_measured(rows)[1]),
    )


def told_apart(rows: pd.DataFrame, subset: str) -> Limit:
    """H(X), the entropy of the inputs that the network can distinguish, or ln n for n inputs if H(X) was not logged."""
    import math

    entropy = constant(rows, f"H(X)_{subset}")
    return Limit(constant(rows, f"ln n_{subset}"), "ln n") if math.isnan(entropy) else Limit(entropy, "H(X)")


def ceiling(rows: pd.DataFrame, subset: str, resolution: float) -> Limit:
    """Upper bound of I(X;L): the entropy of X, or the capacity 1 / (2 r^2) at resolution r if that is smaller.

    Args:
        rows: a frame.
        subset: `train`, `eval` or `ood`.
        resolution: r; NaN if information was not measured at a resolution.
    """
    known = told_apart(rows, subset)
    shown = Limit(1 / (2 * resolution**2), "1/(2r\u00b2)")
    return shown if shown.nats < known.nats else known


def constant(rows: pd.DataFrame, name: str) -> float:
    """Value of a column that is constant during a run; the maximum over several runs; NaN if there is none."""
    values = rows[name].to_numpy(dtype=float, na_value=np.nan) if name in rows else np.empty(0)
    return float(max(values[np.isfinite(values)], default=np.nan))


def error_meaning(rows: pd.DataFrame) -> str:
    """Description of the error bars of a frame's trajectories."""
    runs = len(set(rows["run"])) if "run" in rows else 1
    if runs > 1:
        return f"smallest to largest of {runs} runs"
    return "standard error"
