"""The information plane, its animation, and information with accuracy, checked through the artists of figures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from information_rows import LAYERS, STEPS, information_rows
from matplotlib.collections import LineCollection, PathCollection
from PIL import Image, ImageSequence

from grokplane.plot import (
    information_accuracy,
    information_map,
    information_plane,
    information_planes,
    plane_animation,
    save,
)

INFORMATION = ("MI(", "H(", "ln n")


def panels(figure) -> list:
    """The planes, without the colour bar."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def points(axes) -> np.ndarray:
    (found,) = (one for one in axes.collections if isinstance(one, PathCollection))
    return np.ma.filled(found.get_offsets(), np.nan)


def marks(axes) -> dict:
    return {line.get_marker(): tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() in ("s", "*")}


def heights(axes) -> dict:
    """The y values of lines by label."""
    return {line.get_label(): line.get_ydata() for line in axes.lines}


def frames(path: Path) -> list[np.ndarray]:
    """The frames of a GIF."""
    with Image.open(path) as film:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(film)]


def bars(axes) -> list:
    """The ends of the error bars along x and along y."""
    found = [one for one in axes.collections if isinstance(one, LineCollection) and one.get_array() is None]
    return [np.array(one.get_segments()) for one in found]


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_a_panel_a_layer_with_its_points_and_marks():
    rows = information_rows()
    figure = information_plane(rows.sample(frac=1, random_state=0), "eval", title="a_run: lr=$0.1")
    assert [axes.get_title() for axes in panels(figure)] == list(LAYERS)
    for axes, layer in zip(panels(figure), LAYERS, strict=True):
        expected = rows[[f"MI(X;L)_eval/{layer}", f"MI(L;Y)_eval/{layer}"]].to_numpy()
        np.testing.assert_allclose(points(axes), expected)
        assert marks(axes) == {"s": tuple(expected[0]), "*": tuple(expected[-1])}
        assert axes.get_xlabel() == "I(X;L) (nats)"
        along_x, along_y = bars(axes)
        np.testing.assert_allclose(along_x[:, :, 0], expected[:, :1] + [[-0.1, 0.1]])
        np.testing.assert_allclose(along_y[:, :, 1], expected[:, 1:] + [[-0.05, 0.05]])
    assert panels(figure)[0].get_ylabel() == "held-out subset\nI(L;Y) (nats)"
    assert figure.get_suptitle() == (
        "a_run: lr=$0.1\ninformation plane, held-out subset, resolution r = 0.3: noise 0.3 x the layer's spread"
    )


def test_colours_are_steps_on_a_log_scale_that_holds_step_0():
    figure = information_plane(information_rows())
    (dots,) = (one for one in panels(figure)[0].collections if isinstance(one, PathCollection))
    np.testing.assert_array_equal(dots.get_array(), STEPS)
    places = np.asarray(dots.norm(np.array([0, 1, 10, 100, 1000, 4000])))
    assert places[0] == 0
    assert places[-1] == 1
    assert np.all(np.diff(places) > 0)
    assert places[3] - places[2] == pytest.approx(places[4] - places[3])
    bar = figure.axes[-1]
    assert [text.get_text() for text in bar.get_yticklabels()] == ["0", "1", "10", "100", "1,000"]
    assert bar.get_ylabel() == "step (log scale from 1)"


def test_limits_are_drawn_where_they_are_near():
    near = information_plane(information_rows(shift=0.4).assign(**{"H(X)_eval": 2.6}))
    assert [texts(axes) for axes in panels(near)] == [["H(Y) = 2.30", "H(X) = 2.60"]] * 2
    for axes in panels(near):
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert left < 2.6 < right
        assert bottom < 2.3 < top
    assert [texts(axes) for axes in panels(information_plane(information_rows(shift=-5)))] == [[], []]


@pytest.mark.parametrize(
    ("rows", "limit"),
    [
        (information_rows().assign(**{"mi.resolution": 0.45}), "1/(2r\u00b2) = 2.47"),
        (information_rows().assign(**{"H(X)_eval": 2.4}), "H(X) = 2.40"),
        (information_rows().drop(columns="H(X)_eval").assign(**{"ln n_eval": 2.5}), "ln n = 2.50"),
        (information_rows(exact=False).assign(**{"ln n_eval": 2.5}), "ln n = 2.50"),
        (information_rows(exact=False).drop(columns="ln n_eval"), None),
    ],
)
def test_the_ceiling_is_the_lowest_limit_by_its_name(rows, limit):
    found = [text for text in texts(panels(information_plane(rows))[0]) if not text.startswith("H(Y)")]
    assert found == ([] if limit is None else [limit])


@pytest.mark.parametrize("draw", [information_plane, information_planes, information_map, information_accuracy])
def test_runs_measured_in_different_ways_are_not_put_together(draw):
    rows = pd.concat([information_rows("0"), information_rows("1").assign(**{"mi.resolution": 0.5})])
    with pytest.raises(ValueError, match=r"measured in different ways .*r = 0\.3.*r = 0\.5"):
        draw(rows)


def test_both_subsets_have_equal_limits():
    rows = information_rows()
    rows["MI(X;L)_train/layer 2"] += 3
    figure = information_planes(rows)
    assert [axes.get_title() for axes in panels(figure)] == [*LAYERS, "", ""]
    for above, below in ((0, 2), (1, 3)):
        one, other = panels(figure)[above], panels(figure)[below]
        assert (one.get_xlim(), one.get_ylim()) == (other.get_xlim(), other.get_ylim())
        for axes in (one, other):
            assert np.all((points(axes) > [axes.get_xlim()[0], axes.get_ylim()[0]]).all())
            assert np.all((points(axes) < [axes.get_xlim()[1], axes.get_ylim()[1]]).all())
    assert panels(figure)[2].get_ylabel().startswith("held-out subset")


def test_a_small_change_is_not_blown_up_and_a_wild_bar_does_not_squash():
    rows = information_rows()
    rows["MI(X;L)_eval/layer 1"] = 1.0 + 1e-6 * STEPS / 4000
    rows["MI(X;L)_Errors_eval/layer 2"] = 1e6
    still, wild = panels(information_plane(rows))
    assert np.diff(still.get_xlim())[0] > 0.4
    assert np.diff(wild.get_xlim())[0] < 5


def test_nulls_are_gaps(tmp_path):
    rows = information_rows()
    rows["MI(X;L)_eval/layer 1"] = pd.Series([None, 1, 2, np.nan, 2, 2, np.inf, np.nan], dtype=object)
    rows.loc[1, "MI(L;Y)_eval/layer 1"] = np.nan
    rows["MI(L;Y)_eval/layer 2"] = np.nan
    figure = information_plane(rows)
    gappy, empty = panels(figure)
    np.testing.assert_array_equal(np.isfinite(points(gappy)[:, 0]), [0, 0, 1, 0, 1, 1, 0, 0])
    assert marks(gappy) == {"s": tuple(points(gappy)[2]), "*": tuple(points(gappy)[5])}
    assert texts(empty)[-1] == "no finite value"
    save(figure, tmp_path / "gaps.png")
    plane_animation(rows, tmp_path / "gaps.gif")
    assert len(frames(tmp_path / "gaps.gif")) == 3


def test_several_runs_are_a_mean_with_bars_to_the_extremes():
    rows = pd.concat([information_rows("0"), information_rows("1", shift=0.3), information_rows("2", shift=0.6)])
    axes = panels(information_plane(rows))[0]
    middle = information_rows(shift=0.3)[["MI(X;L)_eval/layer 1", "MI(L;Y)_eval/layer 1"]].to_numpy()
    np.testing.assert_allclose(points(axes), middle)
    np.testing.assert_allclose(bars(axes)[0][:, :, 0], middle[:, :1] + [[-0.3, 0.3]])
    legend = information_plane(rows).legends[0]
    assert legend.get_texts()[-1].get_text() == "bars: smallest to largest of 3 runs"


@pytest.mark.parametrize("draw", [information_plane, information_planes, information_map, information_accuracy])
def test_a_run_without_information_is_refused(draw):
    rows = information_rows()
    absent = rows.drop(columns=[name for name in rows if name.startswith(INFORMATION)])
    null = rows.assign(**{name: np.nan for name in rows if name.startswith("MI(")})
    for refused, why in ((absent, "mi=off"), (null, "all of it is null"), (rows.head(0), "all of it is null")):
        with pytest.raises(ValueError, match=rf"no mutual information was recorded .*{why}"):
            draw(refused)


@pytest.mark.parametrize("draw", [information_plane, information_map, information_accuracy])
def test_another_subset_is_refused(draw):
    with pytest.raises(ValueError, match="subset 'test': allowed: train, eval"):
        draw(information_rows(), "test")


LONG = "nanda: " + ", ".join(f"optimizer.weight_decay_{number}=0.0{number}" for number in range(30)) + ", seed 1"


@pytest.mark.parametrize("draw", [information_planes, information_map, information_accuracy])
@pytest.mark.parametrize(("count", "title"), [(1, "run"), (1, LONG), (2, "run"), (5, LONG), (9, "run")])
def test_texts_stay_inside_the_figure(draw, count, title):
    layers = tuple(f"layer {number}" for number in range(1, count + 1))
    figure = draw(information_rows(layers=layers), title=title)
    figure.draw_without_rendering()
    drawn = [axes for axes in figure.axes if axes.axison]
    labels = [label for axes in drawn for label in (axes.xaxis.label, axes.yaxis.label, axes.title)]
    ticks = [tick for axes in drawn for tick in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    boxes = [
        artist.get_window_extent()
        for artist in [*figure.texts, *figure.legends, *labels, *ticks]
        if not hasattr(artist, "get_text") or (artist.get_visible() and artist.get_text())
    ]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
    (legend,) = figure.legends
    under = [box for axes in drawn for box in [axes.get_tightbbox()] if box is not None]
    assert legend.get_window_extent().y1 <= min(box.y0 for box in under)
    assert max(box.y1 for box in under) <= figure.texts[0].get_window_extent().y0


def test_information_beside_accuracy():
    rows = information_rows()
    figure = information_accuracy(rows, marks={"train_step": 100, "test_step": None}, title="run")
    first, second, *right = figure.axes
    assert [axes.get_ylabel() for axes in (first, second)] == [f"{layer}\ninformation (nats)" for layer in LAYERS]
    lines, named = heights(first), {"I(X;L)": "MI(X;L)", "I(L;Y)": "MI(L;Y)", "I(X;L|Y)": "MI(X;L|Y)"}
    for label, quantity in {**named, "I(L;a)": "MI(L;a)", "I(L;b)": "MI(L;b)"}.items():
        np.testing.assert_allclose(lines[label], rows[f"{quantity}_eval/layer 1"])
    assert set(lines["H(Y)"]) == {2.3}
    assert first.get_ylim()[0] <= 0
    area = first.collections[0].get_paths()[0].get_extents()
    assert (area.y0, area.y1) == pytest.approx((lines["I(X;L)"].min() - 0.1, lines["I(X;L)"].max() + 0.1))
    for axes in right:
        found = heights(axes)
        np.testing.assert_allclose(found["train accuracy"], rows["Acc/train"])
        np.testing.assert_allclose(found["test accuracy"], rows["Acc/test"])
    assert [text.get_text() for text in first.texts] == ["fitted at step 100"]
    told = "information of the held-out subset, resolution r = 0.3: noise 0.3 x the layer's spread"
    assert figure.get_suptitle() == f"run\n{told}"
    names = ["I(X;L)", "I(X;L|Y)", "I(L;Y)", "I(L;a)", "I(L;b)", "H(Y)", "train accuracy", "test accuracy"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names


def test_accuracy_on_unseen_questions_is_drawn_where_it_is_another():
    rows = information_rows()
    same = information_accuracy(rows.assign(**{"Acc/unseen": rows["Acc/test"]}))
    assert "unseen accuracy" not in heights(same.axes[-1])
    lower = information_accuracy(rows.assign(**{"Acc/unseen": rows["Acc/test"] / 2}))
    np.testing.assert_allclose(heights(lower.axes[-1])["unseen accuracy"], rows["Acc/test"] / 2)
    assert "unseen accuracy" in [text.get_text() for text in lower.legends[0].get_texts()]


def test_a_ceiling_that_is_near_stands_beside_the_lines():
    near = information_accuracy(information_rows().assign(**{"H(X)_eval": 2.4}))
    assert set(heights(near.axes[0])["I(X;L) \u2264 H(X)"]) == {2.4}


def test_regression_has_information_about_the_input_alone():
    rows = information_rows()
    rows = rows.drop(columns=[name for name in rows if str(name).startswith(("MI(L;", "MI(X;L|Y)", "H(Y)", "H(a)"))])
    lines = heights(information_accuracy(rows).axes[0])
    assert [label for label in lines if not label.startswith("_")] == ["I(X;L)"]


def test_the_frames_stay_as_they_were():
    rows = information_rows().sample(frac=1, random_state=1)
    before = rows.copy(deep=True)
    information_planes(rows)
    information_map(rows)
    information_accuracy(rows)
    pd.testing.assert_frame_equal(rows, before)


def test_an_animation_of_130_points(tmp_path):
    steps = np.r_[np.arange(30), np.arange(1000, 101000, 1000)]
    wave = np.sin(np.arange(130) / 9)
    rows = pd.DataFrame(
        {"step": steps, "MI(X;L)_eval/layer 1": 2 + wave, "MI(L;Y)_eval/layer 1": np.linspace(0, 2, 130)}
    )
    path = tmp_path / "figures" / "plane.gif"
    plane_animation(rows, path, title="film")
    assert path.stat().st_size < 500_000
    assert [file.name for file in path.parent.iterdir()] == ["plane.gif"]
    first, *others, last = frames(path)
    assert len(others) == 38
    # The head moves upwards through the plane, so that the difference fills most of its height.
    changed = np.flatnonzero((first != last).any(axis=(1, 2)))
    assert np.ptp(changed) > 0.5 * len(first)


def test_an_animation_of_one_point(tmp_path):
    plane_animation(information_rows().head(1), tmp_path / "one.gif", "train")
    assert len(frames(tmp_path / "one.gif")) == 1


@pytest.mark.parametrize("name", ["film", "film.mp4", "film.png"])
def test_an_animation_with_another_suffix_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"an animation is a GIF, its name must end in \.gif"):
        plane_animation(information_rows().head(1), str(tmp_path / name))
    plane_animation(information_rows().head(1), str(tmp_path / "film.GIF"))
    assert [path.name for path in tmp_path.iterdir()] == ["film.GIF"]
