"""Several runs as a mean and a band, the weight norms, and the table of a run's figures."""

import numpy as np
import pandas as pd
import pytest
from information_rows import STEPS, information_rows

from grokplane import plot
from grokplane.plot import mean_and_band, weight_norms
from grokplane.plot.bands import over_runs


def run(name: str, steps: list[int], values: list[float | None]) -> pd.DataFrame:
    return pd.DataFrame({"run": name, "step": steps, "m": pd.Series(values, dtype=object)})


def lines(axes) -> dict:
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
    assert band.made_of() == "mean of 2 to 3 runs"


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
    assert labels == ["Acc/test", "Loss/test (log scale)", "MI(L;Y)_eval/layer 2 (nats)"]
    last = figure.axes[-1]
    assert list(lines(last)) == ["wd 1: mean of 2 runs", "wd 0: 1 run"]
    expected = information_rows(shift=0.25)["MI(L;Y)_eval/layer 2"]
    np.testing.assert_allclose(lines(last)["wd 1: mean of 2 runs"].get_ydata(), expected)
    (area,) = last.collections
    box = area.get_paths()[0].get_extents()
    assert (box.y0, box.y1) == pytest.approx((expected.min() - 0.25, expected.max() + 0.25))
    assert figure.axes[0].get_ylim() == (-0.04, 1.04)
    assert list(lines(mean_and_band(seeds, "Acc/test").axes[0])) == ["mean of 2 runs"]


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


def test_the_table_and_what_figures_say_of_their_run():
    assert [picture.file for picture in plot.pictures(information_rows())] == [
        "curves.png",
        "information_plane.png",
        "information_plane_train.png",
        "information_plane_eval.png",
        "information_accuracy.png",
        "weight_norms.png",
        "information_plane.gif",
    ]
    grok = {"train_step": 10, "test_step": 4000, "delay": 3990, "threshold": 0.99}
    facts = plot.about({"name": "tiny", "model": {"noise_sigma": 0.1, "noise_scale": "relative"}}, grok)
    assert facts == plot.About("tiny", grok, 0.99, "each layer with noise of sigma = 0.1 x its deviation")
    assert plot.about({}) == plot.About()


@pytest.mark.parametrize("number", range(len(plot.PICTURES)))
def test_a_picture_reads_what_it_says(number, tmp_path):
    picture = plot.PICTURES[number]
    rows = information_rows()
    rows = rows[["run", "step", *(name for name in rows if str(name).startswith(picture.reads))]]
    picture.write(rows, plot.About(), tmp_path / picture.file)
    assert [path.name for path in tmp_path.iterdir()] == [picture.file]
    without = pd.DataFrame({name: rows[name] for name in rows if not str(name).startswith(picture.reads[0])})
    assert picture not in list(plot.pictures(without))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"model.noise_sigma": 1e-3, "model.noise_scale": "absolute", "mi.noise": 0.1},
            "each layer with noise of sigma = 0.001",
        ),
        (
            {"model": {"noise_sigma": 0.5, "noise_in": "train"}, "mi": {"noise": 0.1}},
            "each layer measured with noise of sigma = 0.1 x its deviation",
        ),
        (
            {"model": {"noise_sigma": 0.0}, "mi": {"noise": 0.2}},
            "each layer measured with noise of sigma = 0.2 x its deviation",
        ),
        ({"model": {}, "name": "x"}, None),
    ],
)
def test_the_noise_in_words(config, said):
    assert plot.noise(config) == said


def test_pictures_of_values_that_are_all_null_are_left_out() -> None:
    rows = information_rows()
    held_out = {name: None for name in rows if str(name).startswith("MI(") and "_eval/" in str(name)}
    files = {picture.file for picture in plot.pictures(rows.assign(**held_out))}
    assert {"information_plane.png", "information_plane_train.png"} <= files
    assert not {"information_plane_eval.png", "information_plane.gif"} & files
    null = {name: None for name in rows if str(name).startswith("MI(")}
    files = {picture.file for picture in plot.pictures(rows.assign(**null))}
    assert files == {"curves.png", "weight_norms.png"}
