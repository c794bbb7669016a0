"""Metrics whose values cannot be recorded under a name of their own: refused before a folder is made, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from builders import ALWAYS, METRICS, member, trained
from torch import Tensor

from grokplane import config
from grokplane.app.jobs import check_trainable
from grokplane.config import compose
from grokplane.metrics import Accuracy, Array, Observation
from grokplane.options import ConfigError
from grokplane.train import Stack, try_metrics


@dataclass(frozen=True)
class Given:
    """A metric that gives what it is told to."""

    make: Callable[[Observation], Any]

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Whatever that is."""
        return self.make(seen)


@dataclass(frozen=True)
class Perfect(Accuracy):
    """An accuracy that overwrites the true one."""

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """All ones."""
        return {"Acc/test": torch.ones_like(seen.learning_rate)}


@dataclass(frozen=True)
class Scalar:
    """A metric without the member axis."""

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """One number for all."""
        return {"scalar": seen.train.losses.mean()}


def named(key: Any) -> Given:
    return Given(lambda seen: {key: torch.ones_like(seen.learning_rate)})


def with_value(value: Callable[[Observation], Any]) -> Given:
    return Given(lambda seen: {"mine/value": value(seen)})


REFUSED = {
    "a name of another": (named("Acc/test"), "gives 'Acc/test', which is a value of metrics.accuracy"),
    "a subclass": (Perfect(), "gives 'Acc/test', which is a value of metrics.accuracy"),
    "a name of a third": (named("WN/total"), "gives 'WN/total', which is a value of metrics.WeightNorms"),
    "step": (named("step"), "gives 'step'; step, arrays and names that begin with"),
    "time": (named("time/mine"), "gives 'time/mine'; step, arrays and names that begin with time/"),
    "information": (named("MI(X;L)_train/layer 1"), "are taken"),
    "entropies": (named("H(Y)_train"), "are taken"),
    "of W&B": (named("_step"), "are taken"),
    "no name": (named(""), "gives a value the name ''; must be a text"),
    "a number for a name": (named(3), "gives a value the name 3; must be a text"),
    "no member axis": (with_value(lambda seen: seen.learning_rate.sum()), r"of shape \[\]; must be \[2\]"),
    "points": (with_value(lambda seen: seen.train.losses), r"of shape \[2, 16\]; must be \[2\], one value a member"),
    "complex": (with_value(lambda seen: seen.learning_rate + 0j), "as complex128 on cpu; must be real numbers on cpu"),
    "elsewhere": (with_value(lambda seen: seen.learning_rate.to("meta")), "on meta; must be real numbers on cpu"),
    "the place of arrays": (named("arrays"), "gives 'arrays'; step, arrays and names"),
    "an array of a few": (
        with_value(lambda seen: Array(seen.train.losses[:1])),
        r"gives an array 'mine/value' of shape \[1, 16\]; must be a tensor \[2, ...\]",
    ),
    "an array of no member": (with_value(lambda seen: Array(seen.learning_rate.sum())), r"of shape \[\]; must be"),
    "an array of numpy": (
        with_value(lambda seen: Array(cast(Any, seen.train.losses.numpy()))),
        "of shape ndarray; must be",
    ),
    "an array elsewhere": (with_value(lambda seen: Array(seen.train.losses.to("meta"))), "as float64 on meta; must"),
    "an array for no numpy": (with_value(lambda seen: Array(seen.train.losses.bfloat16())), "as bfloat16 on cpu; must"),
    "an array of a taken name": (
        Given(lambda seen: {"WN/total": Array(seen.train.losses)}),
        "gives 'WN/total', which is a value of metrics.WeightNorms",
    ),
    "a float": (with_value(lambda _: 1.0), "as a float; must be a tensor"),
    "a list": (Given(lambda seen: [seen.learning_rate]), "must give a dict of values"),
    "an error": (
        Given(lambda seen: {"a": seen.train.layers["no"].preactivations}),
        r"fails on a look \(KeyError: 'no'\)",
    ),
}


@pytest.mark.parametrize(("metric", "why"), REFUSED.values(), ids=REFUSED)
def test_a_metric_is_refused_by_its_name_and_its_key(metric: Any, why: str) -> None:
    stack = Stack([member(seed=seed, metrics=METRICS | {"mine": metric}) for seed in range(2)])
    with pytest.raises(ConfigError, match=rf"^metrics.mine={type(metric).__name__}: .*{why}"):
        try_metrics(stack)


def test_a_metric_that_bears_the_name_of_another_is_refused_too() -> None:
    with pytest.raises(ConfigError, match=r"^metrics.accuracy=Perfect: gives 'Acc/test'"):
        try_metrics(Stack([member(metrics={"accuracy": Perfect()})]))


def test_a_metric_whose_arrays_would_make_no_file_is_refused() -> None:
    given = with_value(lambda seen: Array(seen.train.losses))
    with pytest.raises(ConfigError, match=r"^metrics.a/b=Given: gives an array, and its name must be that of a file"):
        try_metrics(Stack([member(metrics={"a/b": given})]))


def test_all_shipped_metrics_have_names_of_their_own() -> None:
    try_metrics(Stack([member(seed=seed, metrics=METRICS) for seed in range(2)]))


def test_a_value_that_turns_up_later_is_refused_too_and_sets_no_mark() -> None:
    late = Given(lambda seen: {"Acc/test": torch.ones_like(seen.learning_rate)} if seen.step > 2 else {})
    with pytest.raises(
        ConfigError, match=r"^metrics.mine=Given: gives 'Acc/test', which is a value of metrics.accuracy"
    ):
        trained(member(metrics={"mine": late}, log=ALWAYS))


def test_flags_and_counts_are_values() -> None:
    given = with_value(lambda seen: seen.learning_rate > 0)
    try_metrics(Stack([member(metrics={"mine": given})]))


@pytest.mark.parametrize(("name", "why"), [("Perfect", "gives 'Acc/test'"), ("Scalar", r"of shape \[\]")])
def test_the_command_line_refuses_it_before_there_is_a_folder(
    name: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if its file lay beside those of our metrics."""
    known = config.targets() | {("metrics", f"{__name__}.{name}"): globals()[name]}
    monkeypatch.setattr(config, "targets", lambda: known)
    one = compose(["data.p=7", "mi=off", f"+metrics.mine._target_={__name__}.{name}", f"hydra.run.dir={tmp_path}/run"])
    with pytest.raises(ConfigError, match=rf"^metrics.mine={name}: .*{why}"):
        check_trainable(one)
