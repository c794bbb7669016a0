"""Titles of figures: how information was measured, overrides, seed; and wrapping of lines."""

import pytest
from information_rows import information_rows

from grokplane import plot
from grokplane.plot import curves, information_accuracy, information_map, information_planes, weight_norms
from grokplane.plot.headings import wrapped

GROK = {"train_step": 10, "test_step": 4000, "delay": 3990, "threshold": 0.99}


def test_marks_and_title():
    facts = plot.about({"name": "tiny", "seed": 3}, GROK, ["optimizer.weight_decay=0.3"])
    assert facts == plot.About("tiny: optimizer.weight_decay=0.3, seed 3", GROK, 0.99)
    assert plot.about({}) == plot.About()


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([], "seed 1"),
        (["seed=1", "record.figures=true", "hydra.run.dir=x", "train.threads=1", "log.every=10", "name=n"], "seed 1"),
        (["experiment=n", "debug=default", "hydra/launcher=stacked", "train.resume=true"], "seed 1"),
        (["experiment=other", "optimizer=sgd"], "experiment=other, optimizer=sgd, seed 1"),
        (["data/split=ordered", "rules=[orthograd]"], "data/split=ordered, rules=[orthograd], seed 1"),
        (["model.hidden=[8,8]", "+optimizer.lr=1e-2"], "model.hidden=[8,8], optimizer.lr=0.01, seed 1"),
        (["train.steps=10"], "train.steps=500, seed 1"),  # resumed with other steps
        (["loss=mse", "grok.stop_after=null"], "loss=mse, grok.stop_after=null, seed 1"),
    ],
)
@pytest.mark.parametrize("nested", [True, False])
def test_titles_name_overrides_that_change_the_figure(overrides, told, nested):
    flat = {"optimizer.lr": 0.01, "train.steps": 500, "grok.stop_after": None, "model.hidden": (8, 8)}
    parts = {
        "optimizer": {"lr": 0.01},
        "train": {"steps": 500},
        "grok": {"stop_after": None},
        "model": {"hidden": [8, 8]},
    }
    config = {"name": "n", "seed": 1} | (parts if nested else flat)
    assert plot.about(config, None, overrides).title == f"n: {told}"


def test_a_long_list_is_cut_and_the_seed_stays():
    overrides = [f"optimizer.betas_{number}=0.9" for number in range(15)]
    title = plot.about({"name": "n", "seed": 7}, None, overrides).title
    assert title == f"n: 5 more, {', '.join(overrides[5:])}, seed 7"
    long = plot.about({"name": "n", "seed": 7}, None, [f"data.operation={'x' * 90}"]).title
    assert long == f"n: data.operation={'x' * 42}..., seed 7"


def test_several_runs_have_no_seed():
    assert plot.about({"name": "n", "seed": 1}, None, ["loss=mse"], runs=3).title == "n: loss=mse, 3 runs"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"mi.resolution": 0.2, "model.noise_sigma": 1e-3}, "resolution r = 0.2: noise 0.2 x the layer's spread"),
        ({"mi": {"resolution": 0.05}}, "resolution r = 0.05: noise 0.05 x the layer's spread"),
        (
            {"model.noise_sigma": 1e-3, "model.noise_scale": "absolute", "mi.noise": 0.1},
            "each layer with noise of sigma = 0.001",
        ),
        (
            {"model": {"noise_sigma": 0.5, "noise_in": "train"}, "mi": {"noise": 0.1}},
            "each layer measured with noise of sigma = 0.1 x its deviation",
        ),
        (
            {"model": {"noise_sigma": 0.0}, "mi": {"noise": 0.2, "resolution": float("nan")}},
            "each layer measured with noise of sigma = 0.2 x its deviation",
        ),
        (
            {"model.noise_sigma": 0.5, "model.noise_scale": "relative"},
            "each layer with noise of sigma = 0.5 x its deviation",
        ),
        ({"model": {}, "name": "x"}, ""),
    ],
)
def test_how_information_was_measured_in_words(config, said):
    assert plot.measured(config) == said


TITLES = {
    "short": "default: seed 0",
    "wide": "W" * 300,
    "many": ", ".join(f"optimizer.betas_{number}=0.9{number}" for number in range(60)),
    "mixed": f"n: {'m' * 60} {'i' * 200} {'_' * 90}",
    "odd": "n: data.operation=$x^2$\\, seed 1",
}


@pytest.mark.parametrize("title", TITLES.values(), ids=TITLES)
@pytest.mark.parametrize("draw", [curves, weight_norms, information_planes, information_map, information_accuracy])
def test_titles_never_run_out_of_the_figure(draw, title):
    figure = draw(information_rows(layers=("layer 1",)), title=title)
    figure.draw_without_rendering()
    heading = next(text for text in figure.texts if text.get_text())
    box = heading.get_window_extent()
    assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1


def test_a_text_that_fits_is_not_touched_and_a_long_one_ends_in_dots():
    assert wrapped("default: seed 0", 6) == ["default: seed 0"]
    assert wrapped("", 6) == []
    assert wrapped("one\ntwo", 6) == ["one", "two"]
    lines = wrapped(TITLES["many"], 6)
    assert len(lines) == 4
    assert lines[0].startswith("optimizer.betas_0=0.90, ")
    assert lines[-1].endswith(" ...")
