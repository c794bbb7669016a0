"""Readability: axis labels in words, ticks in one notation, no axis filled by noise, no text under a marker."""

import numpy as np
import pandas as pd
import pytest
from information_rows import STEPS, information_rows

from grokplane import plot
from grokplane.plot.ticks import number
from grokplane.plot.words import key_words, metric_words

METRIC = "MI(L;Y)_eval/layer 1"


def metric_axes(values: object, name: str = METRIC):
    return plot.mean_and_band(pd.DataFrame({"step": STEPS, name: values}), name).axes[0]


def ticks(axis) -> list[str]:
    """Visible tick labels, including minor ones."""
    axis.figure.draw_without_rendering()
    low, high = sorted(axis.get_view_interval())
    found = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [tick.label1.get_text() for tick in found if low <= tick.get_loc() <= high and tick.label1.get_text()]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Acc/test", ("accuracy", "held-out subset")),
        ("Loss/unseen", ("loss", "held-out, no mirror in training")),
        ("WN/layer 1", ("L2 norm of the weights", "layer 1")),
        ("WN/global", ("L2 norm of the weights", "all parameters")),
        ("grad_cos_bias/body.0", ("cosine of bias and its gradient", "body.0")),
        ("num_dead_nrns_train/layer 1", ("dead neurons", "layer 1, training subset")),
        ("MI(X;L|Y)@0.1_train/layer 2", ("I(X;L|Y) at r = 0.1 (nats)", "layer 2, training subset")),
        ("MI(X;L)_Errors_eval/layer 2", ("standard error of I(X;L) (nats)", "layer 2, held-out subset")),
        ("H(Y)_eval", ("H(Y) (nats)", "held-out subset")),
        ("softmax_collapse_eval", ("share of points with a collapsed softmax", "held-out subset")),
        ("time/seconds_per_step", ("seconds per step", "")),
        ("lr", ("learning rate", "")),
        ("my_metric/layer 1", ("my_metric/layer 1", "")),
    ],
)
def test_a_metric_in_words(name, words):
    assert metric_words(name) == words


def test_every_metric_of_a_run_has_words_and_no_axis_is_a_key():
    rows = information_rows()
    for name in (str(name) for name in rows if "/" in str(name)):
        assert "/" not in metric_words(name)[0]
        assert name not in plot.mean_and_band(rows, name).axes[0].get_ylabel()
    assert key_words("optimizer.lr", " (log scale)") == "learning rate (log scale)\noptimizer.lr"
    assert key_words("model.hidden") == "model.hidden"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.001, "0.001"),
        (0.3, "0.3"),
        (20, "20"),
        (1000, "1,000"),
        (1e-5, "1e-05"),
        (2e6, "2e+06"),
        (-3, "-3"),
    ],
)
def test_ticks_have_one_notation(value, text):
    assert number(value) == text


@pytest.mark.parametrize("loss", [(4.0, 1e-3), (4.0, 1.5), (4e3, 2e2), (1e-7, 3e-9)])
def test_so_have_all_axes_of_losses_and_norms(loss):
    losses = np.geomspace(loss[0], loss[1], len(STEPS))
    rows = information_rows().assign(**{"Loss/train": losses, "Loss/test": losses, "WN/layer 1": losses})
    for figure in (plot.curves(rows), plot.weight_norms(rows), plot.mean_and_band(rows, "Loss/train")):
        for axes in figure.axes:
            found = ticks(axes.yaxis)
            assert len(found) >= 2
            assert not [text for text in found if "$" in text or "\u00d7" in text]


@pytest.mark.parametrize("steps", [(200, 500), (100, 2300), (0, 40), (3, 40000)])
def test_so_have_the_steps_of_a_sweep(steps):
    cells = [
        {"optimizer.lr": rate, "status": "finished", "grok.train_step": steps[0], "grok.test_step": steps[1]}
        | {"last.Acc/train": 1, "last.Acc/test": 1}
        for rate in (0.1, 1)
    ]
    found = ticks(plot.spread(pd.DataFrame(cells), "optimizer.lr").axes[0].yaxis)
    assert len(found) >= 2
    assert not [text for text in found if "$" in text or "e" in text]


def test_noise_does_not_fill_an_axis_and_zero_is_seen():
    noise = 1e-16 * np.array([1, -2, 3, -1, 0, 2, -3, 1])
    axes = metric_axes(noise)
    low, high = axes.get_ylim()
    assert high - low == pytest.approx(0.4)
    assert [np.asarray(line.get_ydata()).tolist() for line in axes.lines if line.get_label() == "_zero"] == [[0, 0]]
    low, high = metric_axes(2 + noise).get_ylim()
    assert high - low == pytest.approx(0.4)
    flat = metric_axes(5 + 1e-9 * np.arange(len(STEPS)), "logit_scale_train")
    assert flat.get_ylim()[0] < 0 < 5 < flat.get_ylim()[1]
    wide = metric_axes(np.arange(len(STEPS)))
    assert wide.get_ylim() == pytest.approx((-0.35, 7.35))
    lost = information_rows()
    for name in [name for name in lost if str(name).startswith(("MI(", "H("))]:
        lost[name] = 1e-15
    assert plot.information_accuracy(lost.drop(columns=["H(Y)_eval", "ln n_eval"])).axes[0].get_ylim()[1] > 0.15


def test_equal_runs_have_a_mean_inside_of_their_band():
    """(0.1 + 0.1 + 0.1) / 3 exceeds 0.1, but an error bar of negative length cannot be drawn."""
    rows = pd.concat([information_rows(str(run)) for run in range(3)])
    rows = rows.assign(**{f"MI(X;L)_eval/layer {layer}": 0.1 for layer in (1, 2)})
    assert plot.information_plane(rows).axes
    assert (0.1 + 0.1 + 0.1) / 3 > 0.1


def test_what_cells_of_a_sweep_differ_in_is_not_cut_off_their_titles():
    shared = ["data=modular", "data/split=random", "data.train_fraction=0.6", "model=mlp", "train.steps=1500", "mi=off"]
    shared += ["metrics=[loss,accuracy,weight_norms]", "data.p=23", "model.embedding_dim=200", "loss=cross_entropy"]
    titles = {
        plot.about({"name": "default", "seed": seed}, None, [*shared, f"optimizer={name}", f"seed={seed}"]).title
        for name in ("adam", "sgd")
        for seed in (0, 1)
    }
    assert len(titles) == 4
    for title in titles:
        assert "optimizer=" in title
        assert not title.startswith("default")
        assert "metrics=" not in title
    assert plot.about({"name": "default", "seed": 3}).title == "default: seed 3"


def test_a_runs_own_threshold_says_whether_its_fit_was_lost():
    frame = pd.DataFrame(
        {
            "status": "finished",
            "grok.train_step": 10,
            "grok.test_step": None,
            "last.Acc/train": 0.85,
            "last.Acc/test": 0.1,
            "grok.threshold": [0.8, 0.9, None],
        }
    )
    assert plot.classify(frame, 0.99).tolist() == ["memorised only", "fit lost", "fit lost"]


def way(x: object, y: object, **columns: object) -> pd.DataFrame:
    """Trajectory of one layer, with H(Y) = 2.3 and H(X) = 3."""
    names = ("MI(X;L)_eval/layer 1", METRIC, "MI(X;L)_train/layer 1", "MI(L;Y)_train/layer 1")
    values = dict(zip(names, (x, y, x, y), strict=True))
    limits = {f"{name}_{subset}": nats for subset in ("train", "eval") for name, nats in (("H(Y)", 2.3), ("H(X)", 3.0))}
    return pd.DataFrame({"step": STEPS, **values, **limits, **columns})


S = np.linspace(0, 1, len(STEPS))
WAYS = {
    "ends at the upper left": way(3 - 2.5 * S, 1 + 1.3 * S),
    "ends at the upper right": way(1 + 2 * S, 1 + 1.3 * S),
    "runs along both limits": way(np.minimum(3, 1 + 4 * S), np.clip(0.3 + 2 * S, 0, 2.3)),
    "stands in the corner": way(3 + 0 * S, 2.3 + 0 * S),
    "runs up at H(X)": way(3 + 0 * S, 2.3 * S),
    "runs along H(Y)": way(3 * S, 2.3 + 0 * S),
}


@pytest.mark.parametrize("rows", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("draw", [plot.information_plane, plot.information_planes])
def test_no_name_of_a_limit_lies_under_a_mark_or_a_curve(rows, draw):
    figure = draw(rows)
    figure.draw_without_rendering()
    for axes in (axes for axes in figure.axes if axes.get_label() != "<colorbar>"):
        boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
        assert set(boxes) == {"H(Y) = 2.30", "H(X) = 3.00"}
        assert not boxes["H(Y) = 2.30"].overlaps(boxes["H(X) = 3.00"])
        way = axes.transData.transform(rows[["MI(X;L)_eval/layer 1", METRIC]].to_numpy())
        between = np.concatenate([way[:-1] + part * np.diff(way, axis=0) for part in np.linspace(0, 1, 20)])
        ends = {line.get_marker(): line.get_markersize() for line in axes.lines if line.get_marker() in ("s", "*")}
        radius = max(ends.values()) / 2 * figure.dpi / 72
        for box in boxes.values():
            assert axes.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
            assert not box.count_contains(between)
            assert not box.padded(radius).count_contains(way[[0, -1]])
