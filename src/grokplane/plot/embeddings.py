"""The embedding of the operands: circles of its strongest frequencies, and its spectrum over the steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from grokplane.plot import characters, style
from grokplane.plot.grid import Margins, grid
from grokplane.plot.images import step_image
from grokplane.plot.points import phase_points
from grokplane.plot.recorded import Arrays, mark_line, stages

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE, LEFT, RIGHT = 1.45, 1.05, 1.45  # inches: a panel, beside the panels
MOST = 5  # frequencies whose circles are drawn
CIRCLES = "embedding on its cosine and sine direction at the last step; share of k at the step of the row"


def has_frequencies(arrays: Arrays, orders: str = "embedding_orders") -> bool:
    """Whether the recorded group is a product of cyclic groups, so that it has frequencies."""
    return orders in arrays and characters.known(arrays[orders].values[0])


def embedding_circles(arrays: Arrays, *, marks: Mapping[str, int | None] | None = None, title: str = "") -> Figure:
    """The embedding in the plane of each of its five strongest frequencies, at the start, the marks and the end.

    A column is a frequency k, a row a log point, for a mark the first one at or after it. A point is an element g, with
    the colour of its phase k g / n. Its coordinates are the products of its embedding with two unit vectors: the
    directions of the sums over all elements of cos (sin) of the phase times the embedding, at the last log point in all
    rows. If the embedding contains a circle of this frequency in this plane, the colours are in order around the
    centre. Each panel has the scale of its largest value.

    Args:
        arrays: `embedding` [T, n, R] and `embedding_orders` [T, K], of the metric `embeddings`.
        marks: as for `curves`.
        title: title above the panels.

    Raises:
        ValueError: if the group has no frequencies, or no finite embedding was recorded.
    """
    turns, table = _embedding(arrays)
    finite = np.isfinite(table).all((1, 2))
    if not finite.any():
        raise ValueError("no finite embedding was recorded")
    steps, table = arrays["embedding"].steps[finite], table[finite]
    share = shares(characters.energies(turns, table))
    strongest = [int(k) for k in np.argsort(-share[-1], kind="stable")[:MOST]]
    shown = stages(steps, marks or {})
    margins = Margins(LEFT, 0.2, 0.2, 0.35, 0.12, 0.3)
    head = [title, mark_line(marks or {}), CIRCLES]
    frame = grid(len(shown), len(strongest), (SIDE, SIDE), margins, head, least_width=7.0)
    for column, k in enumerate(strongest):
        wave = characters.waves(turns)[:, k + 1]
        directions = wave @ table[-1]
        lengths = np.linalg.norm(directions, axis=1, keepdims=True)
        directions /= np.where(lengths > 0, lengths, 1)
        for row, index in enumerate(shown):
            axes = frame.panels[row, column]
            phase_points(axes, table[index] @ directions.T, turns[k + 1])
            axes.set_title(f"k = {k + 1}: {share[index, k]:.0%}", fontsize=style.FONT - 1, pad=3)
    for axes, words in zip(frame.panels[:, 0], shown.values(), strict=True):
        axes.set_ylabel(words, fontsize=style.FONT, rotation=0, ha="right", va="center", labelpad=6)
    return frame.figure


def embedding_spectrum(arrays: Arrays, *, marks: Mapping[str, int | None] | None = None, title: str = "") -> Figure:
    """Share of each frequency of the embedding's energy without the constant, by step, as an image.

    Args:
        arrays, marks, title: as for `embedding_circles`.

    Raises:
        ValueError: if the group has no frequencies.
    """
    turns, table = _embedding(arrays)
    share = shares(characters.energies(turns, table))
    frame = grid(1, 1, (6.6, 3.4), Margins(0.9, RIGHT, 0.6, 0.55), [title])
    axes = frame.panels[0, 0]
    edges = np.arange(share.shape[1] + 1) + 0.5
    image = step_image(axes, arrays["embedding"].steps, edges, share, marks or {})
    image.set_clim(0, None)
    style.plain(axes, "frequency k of the embedding")
    axes.grid(visible=False)
    style.mark_labels(axes, marks or {})
    style.step_label(axes)
    bar = frame.figure.colorbar(image, cax=frame.bar_axes())
    bar.set_label("share of the energy", fontsize=style.FONT + 1)
    bar.ax.tick_params(labelsize=style.FONT)
    return frame.figure


def shares(energy: np.ndarray) -> np.ndarray:
    """Shares [..., M - 1] of energies [..., M] without that of the constant; 0 without energy."""
    varying = energy[..., 1:]
    total = varying.sum(-1, keepdims=True)
    return varying / np.where(total == 0, 1, total)


def _embedding(arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Phases [M, n] and the embedding [T, n, R] without padding."""
    if not has_frequencies(arrays):
        raise ValueError("the group of the operands is no product of cyclic groups: it has no frequencies")
    turns = characters.turns([int(order) for order in arrays["embedding_orders"].values[0]])
    return turns, arrays["embedding"].values[:, : turns.shape[1]]
