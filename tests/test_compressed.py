"""Information estimated from compressed images and vectors: values equal those of the estimators in `grokplane.mi`."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import member, task, trained
from looking import looked_at, own_points, records
from torch import Tensor

from grokplane.data import Digits, TeacherStudent
from grokplane.losses import MSE
from grokplane.metrics import Compressed
from grokplane.mi import KDE, KSG, PCA, ClassKL, ConvAutoencoder, Estimate, Ross, standardised
from grokplane.models.conv import Conv
from grokplane.models.mlp import MLP
from grokplane.options import ConfigError
from grokplane.random import generator
from grokplane.train import LogOptions, Member, Stack, run
from grokplane.train.observe import observe

SOME = LogOptions(dense_steps=3, every=7)


def compressed(**keys: Any) -> Compressed:
    return Compressed(**({"input_estimator": KSG(), "label_estimator": Ross(), "workers": 0} | keys))


def images(tmp_path: Path, **parts: Any) -> Member:
    """A small perceptron on digits."""
    mi = compressed(code_steps=30, code_dim=3, layer_dim=2, cache=str(tmp_path))
    keys: dict[str, Any] = {"data": Digits(train_points=80, test_points=60), "mi": mi, "loss": MSE(), "log": SOME}
    return member(**(keys | {"model": MLP(hidden=[9], embedding="none", noise_sigma=0.05)} | parts))


@pytest.mark.parametrize("model", [MLP(hidden=[9], embedding="none", noise_sigma=0.05), Conv(channels=[2], hidden=[5])])
def test_images_have_codes_of_both_sides(model: Any, tmp_path: Path) -> None:
    stack = trained(images(tmp_path, model=model))
    (found,), seen = looked_at(stack), observe(stack, None)
    pool = Digits()._population()
    code = ConvAutoencoder(dim=3, steps=30).fit(pool, tmp_path)
    for subset, (layer, output) in ((s, item) for s in ("train", "eval") for item in seen.subsets[s].layers.items()):
        inputs, targets = own_points(stack, subset, 0)
        noisy, sigma = output.noisy[0].flatten(1).double(), 0.05
        if output.sigma is None:
            sigma = 0.5 * float(noisy.std(correction=0))
            stream = generator(0, f"mi/{subset}/{layer}", stack.step)
            noisy = noisy + sigma * torch.randn(noisy.shape, generator=stream).double()
        values = standardised(PCA(2, whiten=True, noise_variance=sigma**2).fit(noisy)(noisy))
        expected = KSG()(standardised(code(inputs)), values)
        assert found[f"MI(X;L)_{subset}/{layer}"] == pytest.approx(float(expected.value), abs=1e-6)
        assert found[f"MI(X;L)_Errors_{subset}/{layer}"] == pytest.approx(float(expected.std_error), abs=1e-6)
        assert found[f"MI(L;Y)_{subset}/{layer}"] == pytest.approx(float(Ross()(values, targets).value), abs=1e-6)


def test_numbers_as_answers_are_estimated_as_the_input_is() -> None:
    teacher = TeacherStudent(train_points=60, test_points=50)
    one = member(data=teacher, loss=MSE(), model=MLP(hidden=[4], embedding="none"), mi=compressed())
    (found,) = looked_at(trained(one))
    assert {name.partition("_")[0] for name in found} == {"ln n", "MI(X;L)", "MI(L;Y)"}
    assert all(math.isfinite(value) for value in found.values())
    assert found["MI(L;Y)_eval/layer 2"] != found["MI(X;L)_eval/layer 2"]


def test_a_code_of_vectors_is_the_members_own() -> None:
    """Twelve features are mapped to principal components of the points of each member."""
    one = member(
        data=TeacherStudent(inputs=12, train_points=60, test_points=50),
        loss=MSE(),
        model=MLP(hidden=[4], embedding="none"),
        mi=compressed(),
    )
    members = [one, replace(one, seed=1, data=TeacherStudent(inputs=12, train_points=40, test_points=30))]
    together = looked_at(Stack(members))
    for number, alone in enumerate(members):
        assert together[number] == pytest.approx(looked_at(Stack([alone]))[0], rel=1e-6, abs=1e-7)


def test_what_an_estimator_refuses_is_null_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    refusing = images(tmp_path, mi=compressed(code="pca", label_estimator=ClassKL(k=10**6)))
    with caplog.at_level(logging.WARNING):
        rows = records([refusing])[0]
    assert all(math.isnan(row["MI(L;Y)_train/layer 1"]) for row in rows)
    assert all(math.isfinite(row["MI(X;L)_train/layer 1"]) for row in rows)
    told = [record.message for record in caplog.records if "cannot be measured" in record.message]
    assert len(told) == len(set(told)) >= 1


class Surprised:
    """An estimator with a bug."""

    def __call__(self, x: Tensor, y: Tensor) -> Estimate:
        raise KeyError(len(x), len(y))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_estimators_surprise_takes_its_own_value_away(
    workers: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = records([images(tmp_path, mi=compressed(code="pca", label_estimator=Surprised(), workers=workers))])[0]
    assert rows[-1]["step"] == 20
    assert all(math.isnan(row["MI(L;Y)_train/layer 1"]) for row in rows)
    assert all(math.isfinite(row["MI(X;L)_train/layer 1"]) for row in rows)
    told = [record.message for record in caplog.records if "is null: KeyError" in record.message]
    assert len(told) == 2  # of the subsets' two sizes


def test_a_value_above_its_ceiling_is_told_once_in_a_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = records([images(tmp_path, mi=compressed(code="pca", label_estimator=KDE(0.1, "upper"), workers=1))])[0]
    assert rows[-1]["MI(L;Y)_train/layer 1"] > rows[-1]["H(Y)_train"]
    assert caplog.text.count("KDE exceeds the entropy of y") == 1


def test_estimating_beside_training_changes_no_number(tmp_path: Path) -> None:
    one = images(tmp_path)
    alone = records([one])
    assert repr(records([replace(one, mi=replace(one.mi, workers=2))])) == repr(alone)  # type: ignore[type-var]
    assert [row["step"] for row in alone[0]] == [0, 1, 2, 7, 14, 20]


def test_tokens_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"mi=compressed: .*tokens are measured exactly; use default"):
        Stack([member(data=task(), mi=compressed())])


@pytest.mark.parametrize("fitted", [True, False])
def test_a_code_that_fails_takes_all_information_away_and_is_told_of_once(
    fitted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fits = list[int]()

    def fails(*_: object) -> Any:
        raise MemoryError("no room")

    def fit(*_: object) -> Any:
        fits.append(1)
        return fails if fitted else fails()

    monkeypatch.setattr("grokplane.metrics.compressed.encoder", fit)
    stack = Stack([images(tmp_path)])
    assert stack.gauge is not None
    stack.gauge.prepare()
    rows = [point.records[0] for point in run(stack) if point.records]
    assert [row["step"] for row in rows][-1] == 20
    assert all(math.isnan(row["MI(X;L)_train/layer 1"]) and math.isfinite(row["Loss/train"]) for row in rows)
    assert all(math.isfinite(row["H(Y)_train"]) for row in rows)
    told = [record.message for record in caplog.records if "cannot be measured" in record.message]
    assert told == ["some mutual information cannot be measured and is null: MemoryError: no room"]
    assert len(fits) == 1
