"""Figures of runs with an out-of-domain subset, and that figures of other runs are as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from information_rows import LAYERS, STEPS, information_rows
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.figure import Figure

from grokplane.plot import (
    curves,
    information_accuracy,
    information_map,
    information_plane,
    information_planes,
    plane_animation,
    prune,
    save,
    style,
)
from grokplane.plot.words import metric_words

ROWS, WITHOUT = information_rows(ood=True), information_rows()


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>"]


def line(axes: Axes, label: str) -> np.ndarray:
    (found,) = (one for one in axes.lines if one.get_label() == label)
    assert found.get_color() == style.OOD
    return np.asarray(found.get_ydata())


def points(axes: Axes) -> np.ndarray:
    (found,) = (one for one in axes.collections if isinstance(one, PathCollection))
    return np.ma.filled(found.get_offsets(), np.nan)


def test_curves_have_a_line_of_a_colour_of_its_own() -> None:
    accuracy, loss, _ = curves(ROWS).axes
    np.testing.assert_array_equal(line(accuracy, "out of domain"), ROWS["Acc/ood"])
    np.testing.assert_array_equal(line(loss, "out of domain"), ROWS["Loss/ood"])
    assert len({one.get_color() for one in accuracy.lines}) == len(accuracy.lines) == 3
    assert "out of domain" not in [one.get_label() for one in curves(WITHOUT).axes[0].lines]


def test_planes_have_a_row_for_it() -> None:
    drawn = panels(information_planes(ROWS))
    assert len(drawn) == 3 * len(LAYERS)
    assert [axes.get_ylabel().partition("\n")[0] for axes in drawn[:: len(LAYERS)]] == [
        "training subset",
        "held-out subset",
        "out-of-domain subset",
    ]
    for axes, layer in zip(drawn[-len(LAYERS) :], LAYERS, strict=True):
        expected = ROWS[[f"MI(X;L)_ood/{layer}", f"MI(L;Y)_ood/{layer}"]].to_numpy()
        np.testing.assert_array_equal(points(axes), expected)
    assert len(panels(information_planes(WITHOUT))) == 2 * len(LAYERS)
    null = {name: None for name in ROWS if str(name).startswith("MI(") and "_ood/" in str(name)}
    assert len(panels(information_planes(ROWS.assign(**null)))) == 2 * len(LAYERS)


def test_figures_of_one_subset_take_it(tmp_path: Path) -> None:
    (plane, _) = panels(information_plane(ROWS, "ood"))
    np.testing.assert_array_equal(points(plane)[:, 0], ROWS["MI(X;L)_ood/layer 1"])
    first = panels(information_map(ROWS, "ood"))[0]
    (mesh,) = (one for one in first.collections if isinstance(one, QuadMesh))
    values = np.asarray(mesh.get_array(), dtype=float).reshape(-1, len(STEPS))
    np.testing.assert_allclose(values[1], ROWS["MI(L;Y)_ood/layer 1"] / 2.3)
    accuracies = information_accuracy(ROWS, "ood").axes[len(LAYERS)]
    np.testing.assert_array_equal(line(accuracies, "out-of-domain accuracy"), ROWS["Acc/ood"])
    plane_animation(ROWS, tmp_path / "plane.gif", "ood")
    assert (tmp_path / "plane.gif").stat().st_size > 1000
    for draw in (information_plane, information_map, information_accuracy):
        with pytest.raises(ValueError, match="no mutual information was recorded"):
            draw(WITHOUT, "ood")


def test_pruning_draws_its_accuracy() -> None:
    rows = pd.DataFrame({"sparsity": [0, 0.5, 1], "Acc/train": 1.0, "Acc/test": 0.9, "Acc/ood": [0.8, 0.7, 0.1]})
    assert line(prune(rows).axes[0], "out of domain").tolist() == [0.8, 0.7, 0.1]
    assert len(prune(rows.drop(columns="Acc/ood")).axes[0].lines) == 2


@pytest.mark.parametrize("width", [9.0, 4.7])
@pytest.mark.parametrize("draw", [curves, information_accuracy], ids=lambda one: one.__name__)
def test_no_legend_covers_a_panel_or_leaves_the_figure(draw: object, width: float, tmp_path: Path) -> None:
    """With all entries that a legend can have, the capacity 1 / (2 r^2) among them."""
    rows = ROWS.assign(**{"Acc/unseen": 0.5 * ROWS["Acc/test"], "mi.resolution": 0.5})
    figure = draw(rows, width=width)  # type: ignore[operator]
    save(figure, tmp_path / "figure.png")
    inside = figure.bbox
    for legend in [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]:
        box = legend.get_window_extent()
        assert box.x0 >= inside.x0 - 1
        assert box.x1 <= inside.x1 + 1
        assert box.y0 >= inside.y0 - 1
        assert box.y1 <= inside.y1 + 1
        assert not any(axes.get_window_extent().overlaps(box) for axes in figure.axes)
        below = [axes.xaxis.get_tightbbox() for axes in figure.axes]
        assert not any(labels.overlaps(box) for labels in below if labels is not None)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Acc/ood", ("accuracy", "out-of-domain subset")),
        ("MI(L;Y)@0.1_ood/layer 2", ("I(L;Y) at r = 0.1 (nats)", "layer 2, out-of-domain subset")),
        ("num_dead_nrns_ood/layer 1", ("dead neurons", "layer 1, out-of-domain subset")),
        ("logit_scale_ood", ("L2 norm of the outputs", "out-of-domain subset")),
    ],
)
def test_axis_labels_say_it(name: str, words: tuple[str, str]) -> None:
    assert metric_words(name) == words
