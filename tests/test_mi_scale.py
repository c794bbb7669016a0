"""The estimates of a run do not depend on the scale of a code or a layer."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from grokplane import config
from grokplane.metrics import Compressed, Inputs
from grokplane.metrics.compressed import _Compressing, compressed_information
from grokplane.metrics.gauge import Asked
from grokplane.metrics.measured import Sample
from grokplane.mi import KSG, Ross, Sliced, WeightedKL, external, external_labels, standardised
from grokplane.mi.scale import at_one_scale
from tests.test_mi_labels import classes, normal

CHOICES = {
    (group, name): choice
    for group, name, choice in config.choices()
    if group in ("mi/input_estimator", "mi/label_estimator")
}
QUICK = {"sliced": {"projections": 20}, "info_nce": {"steps": 20}}
FACTORS = [10.0, 1e-3]


def tangled(count: int = 200) -> tuple[Tensor, Tensor]:
    """A code of 4 numbers and a nonlinear, noisy map of it to 6 numbers."""
    code = normal(count, 4) * torch.tensor([3.0, 1.0, 1.0, 0.3])
    return code, torch.tanh(code @ normal(4, 6, seed=3)) + 0.2 * normal(count, 6, seed=4)


def test_rows_come_out_centred_and_at_one_scale() -> None:
    x, turn = 7 + 3e5 * tangled()[0], torch.linalg.qr(normal(4, 4, seed=8)).Q
    found = standardised(x)
    assert found.mean(0).abs().max() < 1e-12
    assert found.square().mean().item() == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(found.std(0) / found.std(), x.std(0) / (x - x.mean(0)).std(), rtol=1e-9, atol=0)
    torch.testing.assert_close(standardised(x @ turn), found @ turn, rtol=0, atol=1e-9)
    for factor in (1e-99, 1e-3, 1e90):
        torch.testing.assert_close(standardised(factor * x), found, rtol=0, atol=1e-9)


def test_constant_columns_do_not_count() -> None:
    x = tangled()[0]
    wide = torch.cat([x, torch.full((200, 3), 0.1)], 1)
    wide[::2, -1] += 1e-16  # round-off
    torch.testing.assert_close(standardised(wide)[:, :4], standardised(x), rtol=0, atol=1e-12)
    assert not standardised(wide)[:, 4:].any()
    assert not standardised(torch.full((5, 2), 3.0)).any()


@pytest.mark.parametrize("factor", [1e-12, 1e-4, 1e4, 1e12])
@pytest.mark.parametrize("estimator", [KSG(), KSG(variant=2), Sliced(projections=50), WeightedKL(rescale=False)])
def test_estimators_that_compare_distances_in_both_sides(estimator: KSG | Sliced | WeightedKL, factor: float) -> None:
    """Regression: a side far larger or smaller than the other hid the dependence, or added the log of its scale."""
    x, y = tangled()
    y = y[:, :4]
    for left, right in ((factor * x, y), (x, factor * y)):
        assert float(estimator(left, right).value) == pytest.approx(float(estimator(x, y).value), abs=1e-9)


def test_a_row_far_out_or_a_copied_column_does_not_change_the_scale() -> None:
    x = tangled()[0]
    found = at_one_scale(x)
    assert found.abs().amax(1).median().item() == pytest.approx(1)
    torch.testing.assert_close(at_one_scale(torch.cat([x, x[:, :1]], 1))[:, :4], found, rtol=0, atol=1e-12)
    far = torch.cat([x, torch.full((1, 4), 1e12)])
    torch.testing.assert_close(at_one_scale(far)[:-1], found, rtol=0.05, atol=0.05)
    half_dead = torch.cat([torch.zeros(300, 4), x])
    assert at_one_scale(half_dead).abs().amax(1)[300:].median().item() == pytest.approx(1, rel=0.1)
    assert not at_one_scale(torch.full((5, 2), 3.0)).any()


class RawKSG:
    """A stand-in for the estimators of the mutinfo package."""

    def __init__(self, k_neighbors: int) -> None:
        self.estimator = KSG(k_neighbors)

    def __call__(self, x: np.ndarray, y: np.ndarray, std: bool) -> tuple[float, float]:  # noqa: ARG002
        found = self.estimator(torch.from_numpy(x), torch.from_numpy(y))
        return float(found.value), float(found.std_error)

    def entropy(self, x: np.ndarray, std: bool) -> tuple[float, float]:  # noqa: ARG002
        return float(np.log(np.abs(x).max(0)).sum()), 0.1


def told(options: Compressed, numbers: bool, of_layer: float, of_code: float) -> dict[str, float]:
    """Information of the layer of a run whose layer, input and numeric answers are multiplied by factors."""
    code, values = tangled()
    noisy = values + 0.1 * normal(*values.shape, seed=5)
    layer = Sample(of_layer * values, of_layer * noisy, of_layer * 0.1, (0, "layer", 0))
    targets = of_code * values[:, :2].cos() if numbers else classes(len(code), of=3)
    inputs = Inputs({}, (), False, Tensor.flatten, [lambda: of_code * code], [0], 1)
    asked = Asked(0, of_code * code, targets, None if numbers else targets, {})
    found, refused = compressed_information(layer, _Compressing(options, inputs).questions(asked))
    assert refused == []
    return found


@pytest.mark.parametrize("numbers", [False, True], ids=["labels", "numbers"])
@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_a_layers_information_does_not_depend_on_its_scale_or_the_codes(
    group: str, name: str, numbers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (external, external_labels):
        monkeypatch.setattr(module, "package", lambda: SimpleNamespace(KSG=RawKSG, WKL=RawKSG))
    own: dict[str, Any] = {"input_estimator": KSG(), "label_estimator": Ross()}
    options = Compressed(**(own | {group.removeprefix("mi/"): CHOICES[group, name](**QUICK.get(name, {}))}))
    plain = told(options, numbers, 1, 1)
    assert all(map(math.isfinite, plain.values()))
    for factor in FACTORS:
        for of_layer, of_code in ((factor, 1.0), (1.0, factor)):
            assert told(options, numbers, of_layer, of_code) == pytest.approx(plain, abs=1e-6)
