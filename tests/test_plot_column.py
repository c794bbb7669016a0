"""Figures at the width of a journal column: nothing is cut off and nothing overlaps."""

from collections.abc import Iterator
from itertools import pairwise, product

import numpy as np
import pandas as pd
import pytest
from information_rows import information_rows
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from grokplane import plot

WIDTH = 4.7
MARKS = {"train_step": 100, "test_step": 2000}
TITLE = "peluche: data.train_fraction=0.6, optimizer.weight_decay=0.1, train.steps=6000, seed 0"
ROWS = information_rows()
LAYERS = [f"layer {block} {part}" for block in (1, 2) for part in ("query", "key", "attention", "mlp")]
SEEDS = pd.concat(
    [information_rows(f"{decay},{seed}").assign(**{"optimizer.weight_decay": decay, "seed": seed})
     for decay in (0.1, 1) for seed in (0, 1)]
)  # fmt: skip


def sweep(*keys: str) -> pd.DataFrame:
    ended = {"status": "finished", "grok.train_step": 100, "grok.test_step": 2000}
    rows = [
        dict(zip((*keys, "seed"), cell, strict=True)) | ended | {"last.Acc/train": 1.0, "last.Acc/test": 0.9}
        for cell in product(*([0.0001, 0.001, 0.01, 0.1, 1, 10] for _ in keys), (0, 1))
    ]
    rows[0] |= {"grok.test_step": None}
    rows[1] |= {"grok.test_step": None, "grok.train_step": None}
    rows[-1] |= {"status": "diverged"}
    return pd.DataFrame(rows)


def swept(*keys: str, width: float) -> Figure:
    return plot.sweep_figure(sweep(*keys), keys, title="a_sweep_with_a_name", width=width)


PRUNED = pd.DataFrame({"sparsity": np.linspace(0, 1, 20), "Acc/train": 1.0, "Acc/test": 0.95})
FIGURES = {
    "curves": lambda width: plot.curves(ROWS, marks=MARKS, threshold=0.99, title=TITLE, width=width),
    "norms": lambda width: plot.weight_norms(
        ROWS.assign(**{f"WN/{name}": 2.0 for name in LAYERS}), marks=MARKS, title=TITLE, width=width
    ),
    "band": lambda width: plot.mean_and_band(SEEDS, ["Acc/test", "MI(L;Y)_eval/layer 1"], title=TITLE, width=width),
    "plane": lambda width: plot.information_plane(ROWS, title=TITLE, width=width),
    "planes": lambda width: plot.information_planes(ROWS, title=TITLE, width=width),
    "accuracy": lambda width: plot.information_accuracy(ROWS, marks=MARKS, title=TITLE, width=width),
    "map": lambda width: plot.information_map(ROWS, marks=MARKS, title=TITLE, width=width),
    "phase": lambda width: swept("optimizer.lr", "optimizer.weight_decay", width=width),
    "landscape": lambda width: swept("rules.constant_norm.alpha", "data.train_fraction", width=width),
    "spread": lambda width: swept("optimizer.weight_decay", width=width),
    "prune": lambda width: plot.prune(PRUNED, kept=0.36, tolerance=0.01, title=TITLE, width=width),
}


def words(figure: Figure) -> Iterator[Artist]:
    """All texts except tick labels and texts inside the panels."""
    yield from (text for text in figure.texts if text.get_text())
    yield from figure.legends
    for axes in (axes for axes in figure.axes if axes.axison):
        yield from (label for label in (axes.xaxis.label, axes.yaxis.label, axes.title) if label.get_text())
        legend = axes.get_legend()
        if legend is not None and legend.get_texts():
            yield legend
        yield from (text for text in axes.texts if text.get_window_extent().y0 > axes.bbox.y1)


@pytest.mark.parametrize("width", [WIDTH, 9.0])
@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_or_covered(name, width):
    figure = FIGURES[name](width)
    assert figure.get_figwidth() <= width + 0.3
    figure.draw_without_rendering()
    boxes = [(artist, artist.get_window_extent()) for artist in words(figure)]
    panels = [axes.bbox for axes in figure.axes if axes.axison]
    for number, (artist, box) in enumerate(boxes):
        assert figure.bbox.x0 - 1 <= box.x0 < box.x1 <= figure.bbox.x1 + 1, artist
        assert figure.bbox.y0 - 1 <= box.y0 < box.y1 <= figure.bbox.y1 + 1, artist
        assert not [other for other, its in boxes[number + 1 :] if box.overlaps(its)], artist
        assert not [panel for panel in panels if box.padded(-1).overlaps(panel)], artist


@pytest.mark.parametrize("name", FIGURES)
def test_ticks_do_not_touch_each_other(name):
    figure = FIGURES[name](WIDTH)
    figure.draw_without_rendering()
    for axes in (axes for axes in figure.axes if axes.axison):
        shown = [tick for tick in axes.get_xticklabels() if tick.get_text() and tick.get_visible()]
        boxes = sorted((tick.get_window_extent().extents for tick in shown), key=lambda box: box[0])
        assert all(one[2] < other[0] for one, other in pairwise(boxes)), axes
