"""Several runs drawn as mean and band, and the weight norms."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from information_rows import STEPS, information_rows

from grokplane.plot import mean_and_band, weight_norms
from grokplane.plot.bands import over_runs


def run(name: str, steps: list[int], values: list[float | None]) -> pd.DataFrame:
    return pd.DataFrame({"run": name, "step": steps, "m": pd.Series(values, dtype=object)})


def lines(axes) -> dict[str, Any]:
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_mean_smallest_and_largest():
    rows = pd.concat(
        [run("a", [0, 1, 5], [1, 2, 3]), run("b", [5, 0, 1], [9, 3, 2]), run("c", [0, 1, 5], [2, 8, None])]
    )
    band = over_runs(rows, "m")
    np.testing.assert_array_equal(band.steps, [0, 1, 5])
    np.testing.assert_allclose(band.mean, [2, 4, 6])
    np.testing.assert_array_equal(band.low, [1, 2, 3])
    np.testing.assert_array_equal(band.high, [3, 8, 9])
    np.testing.assert_array_equal(band.runs, [3, 3, 2])
    assert band.several
    assert band.made_of() == "mean of 3 runs, pale: of 2 or more"


def test_steps_that_a_run_passed_by_are_left_out_and_ended_runs_count_to_their_end():
    rows = pd.concat([run("a", [0, 5, 10, 20], [1, 1, 1, 1]), run("b", [0, 10], [3, 3])])
    band = over_runs(rows, "m")
    np.testing.assert_array_equal(band.steps, [0, 10, 20])
    np.testing.assert_array_equal(band.mean, [2, 2, 1])


def test_one_run_nulls_and_no_rows():
    band = over_runs(run("a", [0, 1, 2], [None, float("inf"), 4]).drop(columns="run"), "m")
    np.testing.assert_array_equal(band.mean, [np.nan, np.nan, 4])
    np.testing.assert_array_equal(band.low, [np.nan, np.nan, 4])
    assert not band.several
    assert band.made_of() == "1 run"
    assert len(over_runs(run("a", [], []), "m").steps) == 0
    with pytest.raises(KeyError):
        over_runs(run("a", [0], [1]), "other")


def test_bands_of_two_settings():
    seeds = pd.concat([information_rows("0"), information_rows("1", shift=0.5)])
    metrics = ["Acc/test", "Loss/test", "MI(L;Y)_eval/layer 2"]
    figure = mean_and_band({"wd 1": seeds, "wd 0": information_rows()}, metrics, title="grid")
    labels = [axes.get_ylabel() for axes in figure.axes]
    held_out = "held-out subset"
    assert labels == [
        f"{held_out}\naccuracy",
        f"{held_out}\nloss (log scale)",
        f"layer 2, {held_out}\nI(L;Y) (nats)",
    ]
    last = figure.axes[-1]
    assert list(lines(last)) == ["wd 1: mean of 2 runs", "wd 0: 1 run"]
    expected = information_rows(shift=0.25)["MI(L;Y)_eval/layer 2"]
    np.testing.assert_allclose(lines(last)["wd 1: mean of 2 runs"].get_ydata(), expected)
    (area,) = last.collections
    box = area.get_paths()[0].get_extents()
    assert (box.y0, box.y1) == pytest.approx((expected.min() - 0.25, expected.max() + 0.25))
    assert figure.axes[0].get_ylim() == (-0.04, 1.04)
    assert list(lines(mean_and_band(seeds, "Acc/test").axes[0])) == ["mean of 2 runs"]


def curves(*accuracies: list[float]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"run": str(number), "step": range(0, 10 * len(one), 10), "Acc/test": one, "grok.threshold": 0.9})
        for number, one in enumerate(accuracies)
    ]
    return pd.concat(parts)


def named(axes, part: str) -> list[Any]:
    """The lines whose label has a part."""
    return [line for line in axes.lines if part in str(line.get_label())]


def test_accuracies_have_the_marks_of_their_runs():
    rows = curves([0, 1, 1, 1, 1], [0, 0, 1, 0, 1], [0, 0, 0, 0, 0.9], [0, 0, 0, 1, 0], [0] * 5)
    axes = mean_and_band(rows.sample(frac=1, random_state=0), "Acc/test").axes[0]
    (label,) = lines(axes)
    assert label == "mean of 5 runs; 4 of 5 reach 0.9 \N{BLACK DOWN-POINTING TRIANGLE}, 3 stay \N{BLACK DIAMOND}"
    drawn = named(axes, "_first") + named(axes, "_stable")
    assert [line.get_xdata().tolist() for line in drawn] == [[30], [40]]
    assert drawn[0].get_markerfacecolor() == drawn[0].get_color()
    few = mean_and_band(curves([0, 1, 1], [0, 0, 0], [0, 0, 0]), "Acc/test").axes[0]
    (mark,) = named(few, "_first")
    assert (mark.get_xdata().tolist(), mark.get_markerfacecolor()) == ([20], "white")  # censored: at the end
    for plain in (curves([0, 1, 1]), curves([0, 1], [0, 1]).drop(columns="grok.threshold")):
        assert all("reach" not in name for name in lines(mean_and_band(plain, "Acc/test").axes[0]))


def test_the_mean_over_runs_that_went_on_is_pale():
    axes = mean_and_band(curves([0, 0.5, 1, 1], [0, 0.1]), "Acc/test").axes[0]
    whole, pale = named(axes, "mean of")
    assert whole.get_label().startswith("mean of 2 runs, pale: of 1 or more")
    np.testing.assert_allclose(whole.get_ydata(), [0, 0.3, np.nan, np.nan])
    np.testing.assert_allclose(pale.get_ydata(), [np.nan, 0.3, 1, 1])
    assert (whole.get_alpha(), pale.get_alpha()) == (1, 0.4)


def test_a_metric_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"Acc/x: not among the columns of wd 0"):
        mean_and_band({"wd 0": information_rows()}, ["Acc/test", "Acc/x"])


def test_weight_norms():
    axes = weight_norms(information_rows(), marks={"train_step": 100}, title="run").axes[0]
    assert list(lines(axes)) == ["layer 1", "layer 2", "total (sum)", "global (L2)"]
    np.testing.assert_allclose(lines(axes)["layer 2"].get_ydata(), 11 - np.log10(1 + STEPS) / 4)
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel() == "L2 norm (log scale)"
    several = weight_norms(pd.concat([information_rows("0"), information_rows("1")])).axes[0]
    assert len(several.lines) == len(several.collections) == 4
    with pytest.raises(ValueError, match="no weight norms were recorded"):
        weight_norms(information_rows().filter(regex="step|Acc"))
