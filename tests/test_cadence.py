"""A metric's own cadence: `every` so many log points, the first and the last always."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import finish, member, task, training, weights
from command import QUIET, TINY, Inside, ended_well, refusal, rows
from looking import records

from grokplane import config, metrics
from grokplane.optim import SGD
from grokplane.plot import weight_norms
from grokplane.record import load
from grokplane.train import GrokOptions, LogOptions, Stack, run

EVERY: dict[str, metrics.Metric] = {
    "weight_norms": metrics.WeightNorms(every=3),
    "gradients": metrics.Gradients(every=4),
    "sparsity": metrics.Sparsity(),
}
LOG = LogOptions(dense_steps=3, every=2)  # log points 0, 1, 2, 4, 6, ...
KEYS = {"weight_norms": "WN/global", "gradients": "grad_norm_weight/layer 1", "sparsity": "sparsity/total"}


def having(found: list[dict[str, Any]], name: str) -> list[int]:
    """The steps of the records that have a metric."""
    return [record["step"] for record in found if KEYS[name] in record]


@pytest.mark.parametrize("options", [{"every": 7}, {"every": 1}, {"points_per_decade": 5}, {"points_per_decade": 300}])
@pytest.mark.parametrize("dense", [0, 1, 5, 30])
def test_every_counts_log_points(options: dict[str, int], dense: int) -> None:
    log = LogOptions(dense_steps=dense, **options)
    points = [step for step in range(1200) if log.due(step)]
    for every in (1, 2, 5):
        taken = [step for step in points if log.takes(step, every)]
        assert taken == points[::every]
        assert all(log.takes(step, every) for step in range(1200) if not log.due(step))


def test_a_metric_is_logged_at_its_log_points_and_at_the_last_and_nowhere_else() -> None:
    (found,) = records([member(metrics=EVERY, log=LOG, train=training(steps=19))])
    (every,) = records([member(metrics={n: type(m)() for n, m in EVERY.items()}, log=LOG, train=training(steps=19))])
    points = [0, 1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 19]
    assert [record["step"] for record in found] == points
    assert having(found, "weight_norms") == [0, 4, 10, 16, 19]
    assert having(found, "gradients") == [0, 6, 14, 19]
    assert having(found, "sparsity") == points
    for ours, theirs in zip(found, every, strict=True):
        assert None not in ours.values()
        assert ours == {name: value for name, value in theirs.items() if name in ours}
        assert {"Loss/train", "Acc/test"} <= ours.keys()


def test_training_and_a_resumed_run_do_not_depend_on_it() -> None:
    one = member(metrics=EVERY, log=LOG)
    whole, plain, resumed = Stack([one]), Stack([member(log=LOG)]), Stack([one])
    state, found = None, []
    for point in finish(whole):
        found += [record for record in point.records if record]
    finish(plain)
    assert torch.equal(weights(whole), weights(plain))
    for point in run(Stack([one])):
        if point.step == 8 and point.checkpoint:
            state = point.state(0)
    assert state is not None
    resumed.load_states([state])
    again = [record for point in finish(resumed) for record in point.records if record]
    assert again == [record for record in found if record["step"] >= 8]


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_a_member_that_diverges_between_log_points_has_all_metrics_in_its_last_record(seeds: tuple[int, ...]) -> None:
    """The first member diverges; where there is a second one, it goes on."""
    log = LogOptions(dense_steps=0, every=10)
    rates = {0: 1e30, 1: 0.1}
    members = [member(seed=seed, metrics=EVERY, log=log, optimizer=SGD(lr=rates[seed])) for seed in seeds]
    lost, *others = records(members)
    assert 0 < lost[-1]["step"] < 10
    assert all(key in lost[-1] for key in KEYS.values())
    for other in others:
        assert having(other, "weight_norms") == [0, 20]


@pytest.mark.parametrize("others", [0, 1])
def test_a_member_that_stops_after_grokking_has_all_metrics_in_its_last_record(others: int) -> None:
    grok = GrokOptions(threshold=0.01, stop_after=5)
    plain = {"metrics": EVERY, "log": LOG, "grok": grok}
    slow = [member(data=task(train_fraction=0.9), seed=1, **plain)] * others  # five held-out questions, none answered
    found, *of_others = records([member(data=task(train_fraction=0.3), **plain), *slow])
    assert having(found, "weight_norms") == [0, 4, 6]
    assert found[-1]["step"] == 6
    assert all(having(one, "weight_norms") == [0, 4, 10, 16, 20] for one in of_others)


def test_every_metric_has_the_key_and_losses_cannot_be_thinned(inside: Inside, tmp_path: Path) -> None:
    known = [choice for group, _, choice in config.choices() if group == "metrics"]
    assert all(issubclass(choice, metrics.Metric) for choice in known)
    for typed in ("metrics.loss.every=2", "metrics.accuracy.every=2", "metrics.sparsity.every=0"):
        line = refusal(inside(*TINY, typed, cwd=tmp_path))
        assert typed in line
        assert "at least 1" in line


def test_rows_with_fewer_keys_are_recorded_loaded_drawn_and_resumed(inside: Inside, tmp_path: Path) -> None:
    thin = "metrics.weight_norms.every=3"
    typed = (*TINY, *QUIET[1:], "mi=off", "log.dense_steps=3", "log.every=5", thin, "train.checkpoint_every=10")
    for name, steps in (("run", 40), ("part", 21)):
        ended_well(inside, *typed, f"train.steps={steps}", f"hydra.run.dir={name}", cwd=tmp_path)
    ended_well(inside, "train.resume=true", "train.steps=40", "hydra.run.dir=part", cwd=tmp_path)
    whole, part = rows(tmp_path / "run"), rows(tmp_path / "part")
    assert part == whole
    assert [row["step"] for row in whole if "WN/global" in row] == [0, 5, 20, 35, 40]
    frame = load(tmp_path / "run")
    assert int(frame["WN/global"].notna().to_numpy().sum()) == 5
    assert set(frame["metrics.weight_norms.every"]) == {3}
    line = weight_norms(frame).axes[0].lines[0]
    assert np.asarray(line.get_xdata()).tolist() == [0, 5, 20, 35, 40]
    assert (tmp_path / "run" / "figures" / "weight_norms.png").exists()
