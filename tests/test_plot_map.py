"""The map of information over step and resolution, checked through the artists of the figure."""

import numpy as np
import pandas as pd
import pytest
from information_rows import LADDER, LAYERS, OPERANDS, STEPS, information_rows
from matplotlib.collections import QuadMesh

from grokplane.plot import has_map, information_map, save

LABELS = ["I(L;Y) / H(Y)", "I(X;L) / H(X)", "I(L;a) / H(a)"]
QUANTITIES = ["MI(L;Y)", "MI(X;L)", "MI(L;a)"]


def panels(figure) -> list:
    """The visible panels by rows, without the colour bar."""
    return [axes for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>"]


def mesh(axes) -> QuadMesh:
    (found,) = (one for one in axes.collections if isinstance(one, QuadMesh))
    return found


def shares(axes) -> np.ndarray:
    """The values of the colours [levels, steps], NaN if there is none."""
    values = mesh(axes).get_array()
    assert values is not None
    return np.ma.filled(np.ma.asarray(values, dtype=float), np.nan).reshape(len(LADDER), -1)


def names(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def verticals(axes) -> list:
    return sorted({line.get_xdata()[0] for line in axes.lines if line.get_transform() == axes.get_xaxis_transform()})


def test_shares_over_step_and_resolution():
    rows = information_rows()
    figure = information_map(rows.sample(frac=1, random_state=0), title="run")
    drawn = panels(figure)
    assert [axes.yaxis.get_visible() for axes in drawn] == [True, False] * 3
    assert [axes.get_title() for axes in drawn] == [*LAYERS, "", "", "", ""]
    assert [axes.get_ylabel() for axes in drawn[::2]] == [f"{label}\nresolution r" for label in LABELS]
    wholes = [2.3, rows["H(X)_eval"][0], OPERANDS]
    for number, axes in enumerate(drawn):
        quantity, whole, layer = QUANTITIES[number // 2], wholes[number // 2], LAYERS[number % 2]
        columns = [f"{quantity}{at}_eval/{layer}" for at in ("@0.1", "", "@0.8")]
        np.testing.assert_allclose(shares(axes), rows[columns].to_numpy().T / whole)
        assert mesh(axes).get_clim() == (0, 1)
    for axes in drawn[::2]:
        assert [text.get_text() for text in axes.get_yticklabels()] == ["0.1", "0.3", "0.8"]
    assert figure.get_suptitle() == "run\nwhat each layer tells at each resolution r, held-out subset"


def test_cells_lie_around_their_steps_on_the_axis_of_all_figures():
    axes = panels(information_map(information_rows()))[0]
    edges = np.asarray(mesh(axes).get_coordinates())[0, :, 0]
    assert np.all(edges[:-1] < STEPS)
    assert np.all(edges[1:] > STEPS)
    assert (edges[0], edges[-1]) == pytest.approx(axes.get_xlim())
    assert edges[-2] == pytest.approx(np.sqrt(2000 * 4000))


def test_the_planes_resolution_and_the_grok_marks():
    marks = {"train_step": 10, "test_step": 2000}
    figure = information_map(information_rows(), marks=marks)
    for axes in panels(figure):
        (own,) = (line for line in axes.lines if line.get_marker() == ">")
        assert own.get_ydata() == [1.5]  # the middle level of three
        assert verticals(axes) == [10, 2000]
    assert names(figure) == [
        "fitted at step 10",
        "generalised at step 2,000 (delay 1,990)",
        "resolution of the information plane",
    ]


def test_shares_out_of_reach_are_labelled():
    figure = information_map(information_rows())
    told = [[text.get_text() for text in axes.texts] for axes in panels(figure)]
    ceiling = 1 / (2 * 0.8**2)
    whole = information_rows()["H(X)_eval"][0]
    rightmost = [f"\u2264 {ceiling / 2.3:.2f}", f"\u2264 {ceiling / whole:.2f}", f"\u2264 {ceiling / OPERANDS:.2f}"]
    assert [texts[-1] for texts in told[1::2]] == rightmost
    assert told[::2] == [[], [], []]


def test_a_quantity_that_was_not_recorded_has_no_row():
    rows = information_rows()
    regression = rows.drop(columns=[name for name in rows if str(name).startswith(("MI(L;", "H(Y)", "H(a)"))])
    assert [axes.get_ylabel() for axes in panels(information_map(regression))[::2]] == ["I(X;L) / H(X)\nresolution r"]
    old = rows.drop(columns=["H(X)_eval", "H(a)_eval"])
    labels = [axes.get_ylabel().split("\n")[0] for axes in panels(information_map(old))[::2]]
    assert labels == ["I(L;Y) / H(Y)", "I(X;L) / ln n"]


def test_several_runs_are_their_mean_and_nulls_are_gaps(tmp_path):
    rows = pd.concat([information_rows("0"), information_rows("1", shift=0.4)])
    middle = information_rows(shift=0.2)["MI(L;Y)@0.1_eval/layer 1"] / 2.3
    np.testing.assert_allclose(shares(panels(information_map(rows))[0])[0], middle)
    gappy = information_rows()
    gappy["MI(L;Y)@0.1_eval/layer 1"] = pd.Series([None, 1, np.nan, 1, 1, np.inf, 1, 1], dtype=object)
    figure = information_map(gappy)
    found = np.isnan(shares(panels(figure)[0]))
    np.testing.assert_array_equal(found[0], [1, 0, 1, 0, 0, 1, 0, 0])
    assert not found[1:].any()
    assert names(figure)[-1] == "no value"
    for ending in ("png", "pdf", "svg"):
        save(figure, tmp_path / f"map.{ending}")


@pytest.mark.parametrize(("count", "rows_of_panels"), [(1, 3), (8, 3), (9, 6)])
def test_many_layers_are_wrapped_into_blocks(count, rows_of_panels):
    layers = tuple(f"layer {number}" for number in range(1, count + 1))
    figure = information_map(information_rows(layers=layers))
    drawn = panels(figure)
    assert len(drawn) == 3 * count
    assert len({round(axes.get_position().y0, 6) for axes in drawn}) == rows_of_panels
    assert sorted(axes.get_title() for axes in drawn if axes.get_title()) == sorted(layers)
    assert sum(axes.get_xlabel() != "" for axes in drawn) == count


def test_one_log_point_fills_the_panel():
    axes = panels(information_map(information_rows().head(1)))[0]
    assert shares(axes).shape == (3, 1)


def test_without_a_ladder_there_is_no_map():
    assert has_map(information_rows())
    assert not has_map(information_rows(exact=False))
    with pytest.raises(ValueError, match=r"no information at several resolutions .*mi=default"):
        information_map(information_rows(exact=False))
