"""Outputs at (x, c) over x in their first two principal components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from grokplane.plot import characters, style
from grokplane.plot.grid import Margins, grid
from grokplane.plot.points import phase_points
from grokplane.plot.recorded import Arrays, mark_line, stages

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 1.75  # inches of a panel
NOTE = "outputs at (x, c) over x in two principal components, with the strongest frequency k of each"


def logit_components(arrays: Arrays, *, marks: Mapping[str, int | None] | None = None, title: str = "") -> Figure:
    """Outputs at (x, c) as points in their first two principal components over x: rows are c, columns log points.

    For each c and step the outputs [n, C] minus their mean over x are projected on their first two right singular
    vectors. The label of a component is the frequency k in x with the largest energy, and its share of the component's
    energy. The colour of a point is the phase k x / n of the first component's k. Each panel has the scale of its
    largest value.

    Args:
        arrays: `slices` [T, F, n, C], `slice_elements` [T, F] and `slice_orders` [T, K], of the metric `logit_slices`.
        marks: as for `curves`.
        title: title above the panels.

    Raises:
        ValueError: if the group of the operands is no product of cyclic groups.
    """
    orders = arrays["slice_orders"].values[0]
    if not characters.known(orders):
        raise ValueError("the group of the operands is no product of cyclic groups: it has no frequencies")
    turns = characters.turns([int(order) for order in orders])
    slices = arrays["slices"]
    shown = stages(slices.steps, marks or {})
    fixed = [int(c) for c in arrays["slice_elements"].values[0]]
    head = [title, mark_line(marks or {}), NOTE]
    frame = grid(len(fixed), len(shown), (SIDE, SIDE), Margins(0.8, 0.2, 0.35, 0.75, 0.4, 0.5), head, least_width=7.0)
    for (row, column), axes in np.ndenumerate(frame.panels):
        index = list(shown)[column]
        values = slices.values[index, row, : turns.shape[1]]
        if not np.isfinite(values).all():
            style.note(axes, "no finite values")
            axes.set_xticks([])
            continue
        points, explained = components(values.astype(float))
        numbers, share = strongest(turns, points)
        phase_points(axes, points, turns[numbers[0]])
        for name, k, part in zip(("xlabel", "ylabel"), numbers, share, strict=True):
            axes.set(**{name: f"k = {k} ({part:.0%})"})
        above = f"{shown[index]}\n" if row == 0 else ""
        axes.set_title(f"{above}{explained:.0%} of the variance", fontsize=style.FONT - 1, pad=3)
    for axes, c in zip(frame.panels[:, 0], fixed, strict=True):
        axes.text(-0.22, 0.5, f"c = {c}", transform=axes.transAxes, ha="right", va="center", fontsize=style.FONT)
    return frame.figure


def components(values: np.ndarray) -> tuple[np.ndarray, float]:
    """First two principal components [n, 2] of points [n, C], and their share of the variance; 0 without variance."""
    centred = values - values.mean(0)
    left, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    variance = float(np.square(lengths).sum())
    points = np.zeros((len(values), 2))
    points[:, : len(lengths)] = (left * lengths)[:, :2]
    return points, float(np.square(lengths[:2]).sum()) / variance if variance else 0.0


def strongest(turns: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequency with the largest energy in each column of points [n, 2], and its share of the energy; both [2]."""
    energy = np.stack([characters.energies(turns, column[:, None])[1:] for column in points.T])
    total = np.maximum(energy.sum(1), np.finfo(float).tiny)
    return 1 + energy.argmax(1), energy.max(1) / total
