"""Runs that differ in more than their seed are grouped by the difference, or refused with its names."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from information_rows import information_rows

from grokplane import plot
from grokplane.plot.settings import settings

DECAY, LR = "optimizer.weight_decay", "optimizer.lr"
DIFFER = rf"differ in more than the seed cannot be combined \({DECAY}: 0\.1, 1\): draw each group of"


ENDED = {"status": "finished", "grok.train_step": 1, "grok.test_step": 2, "last.Acc/train": 1, "last.Acc/test": 1}


def nine() -> pd.DataFrame:
    """Three seeds for each of two weight decays, with keys that may differ between runs of one setting."""
    runs = [
        information_rows(f"{decay:g},{seed}", shift=decay).assign(
            **{"seed": seed, DECAY: decay, LR: 0.1, "name": f"n{seed}", "log.every": seed, "mi.workers": seed}
        )
        for decay in (0.1, 1.0)
        for seed in (0, 1, 10)
    ]
    return pd.concat(runs, ignore_index=True)


def config(*runs: Mapping[str, object]) -> pd.DataFrame:
    return pd.DataFrame([{"run": str(number), "step": 0, "seed": number, **run} for number, run in enumerate(runs)])


def test_runs_are_parted_by_what_differs():
    parts = settings(nine())
    assert {name: list(dict.fromkeys(rows["run"])) for name, rows in parts.items()} == {
        f"{DECAY}=0.1": ["0.1,0", "0.1,1", "0.1,10"],
        f"{DECAY}=1": ["1,0", "1,1", "1,10"],
    }
    assert sum(map(len, parts.values())) == len(nine())
    (alone,) = settings(parts[f"{DECAY}=1"]).items()
    assert alone[0] == ""
    pd.testing.assert_frame_equal(alone[1], parts[f"{DECAY}=1"])


@pytest.mark.parametrize(
    ("runs", "names"),
    [
        ([{"model.hidden": (8, 8)}, {"model.hidden": (8,)}], ["model.hidden=(8, 8)", "model.hidden=(8,)"]),
        ([{"loss.dtype": None}, {"loss.dtype": "same"}], ["loss.dtype=null", "loss.dtype=same"]),
        ([{DECAY: 1}, {DECAY: 1.0}], [""]),
        ([{DECAY: 1, LR: 2}, {DECAY: 1, LR: 3}], [f"{LR}=2", f"{LR}=3"]),
        ([{DECAY: 1, LR: 2}, {DECAY: 2, LR: 3}], [f"{DECAY}=1, {LR}=2", f"{DECAY}=2, {LR}=3"]),
        ([{"train.resume": False, "data.root": "a"}, {"train.resume": True, "data.root": "b"}], [""]),
        ([{"train.steps": 10}, {"train.steps": 20}], ["train.steps=10", "train.steps=20"]),
        ([{"lr": 0.1, "Loss/train": 1.0, "H(Y)_eval": 1}, {"lr": 0.2, "Loss/train": 2.0, "H(Y)_eval": 2}], [""]),
    ],
)  # fmt: skip
def test_a_setting_is_named_by_the_keys_that_differ(runs, names):
    assert list(settings(config(*runs))) == names


def test_keys_determined_by_a_choice_are_omitted():
    adam = {"optimizer._target_": "grokplane.optim.adam.Adam", LR: 0.001, "optimizer.eps": 1e-8}
    sgd = {"optimizer._target_": "grokplane.optim.sgd.SGD", LR: 0.1}
    assert list(settings(config(adam, sgd))) == ["optimizer=Adam", "optimizer=SGD"]
    three = config(adam, sgd | {"optimizer.momentum": 0.5}, sgd | {"optimizer.momentum": 0.9})
    assert list(settings(three)) == [
        "optimizer=Adam, optimizer.momentum=null",
        "optimizer=SGD, optimizer.momentum=0.5",
        "optimizer=SGD, optimizer.momentum=0.9",
    ]


def test_means_are_made_of_one_setting_each():
    axes = plot.mean_and_band(nine(), "MI(X;L)_eval/layer 1").axes[0]
    found = {line.get_label(): np.asarray(line.get_ydata()) for line in axes.lines}
    assert list(found) == [f"{DECAY}=0.1: mean of 3 runs", f"{DECAY}=1: mean of 3 runs"]
    for line, decay in zip(found.values(), (0.1, 1), strict=True):
        np.testing.assert_allclose(line, information_rows(shift=decay)["MI(X;L)_eval/layer 1"])
    both = plot.mean_and_band({"a": nine(), "b": information_rows()}, "Acc/test").axes[0]
    assert [line.get_label() for line in both.lines][1:] == [f"a, {DECAY}=1: mean of 3 runs", "b: 1 run"]


@pytest.mark.parametrize(
    "draw",
    [
        *(plot.information_plane, plot.information_planes, plot.information_map),
        *(plot.information_accuracy, plot.weight_norms),
    ],
)
def test_figures_of_one_mean_refuse_several_settings_by_name(draw):
    with pytest.raises(ValueError, match=DIFFER):
        draw(nine())
    for rows in settings(nine()).values():
        assert draw(rows).axes


def test_animations_refuse_runs_that_differ(tmp_path):
    with pytest.raises(ValueError, match=DIFFER):
        plot.plane_animation(nine(), tmp_path / "film.gif")
    assert list(tmp_path.iterdir()) == []


def test_medians_of_a_sweep_are_over_seeds_alone():
    cells = [
        {"run": f"{decay},{rate},{fraction}", DECAY: decay, LR: rate, "data.train_fraction": fraction, **ENDED}
        for decay in (0.1, 1)
        for rate in (0.01, 0.1)
        for fraction in (0.3, 0.5)
    ]  # fmt: skip
    frame = pd.DataFrame(cells)
    for draw in (plot.phase, plot.landscape):
        with pytest.raises(ValueError, match=r"\(data\.train_fraction: 0\.3, 0\.5\)"):
            draw(frame, DECAY, LR)
        assert draw(frame.query("`data.train_fraction` == 0.3"), DECAY, LR).axes
    with pytest.raises(ValueError, match=r"\(optimizer\.lr: 0\.01, 0\.1; data\.train_fraction: 0\.3, 0\.5\)"):
        plot.spread(frame, DECAY)
