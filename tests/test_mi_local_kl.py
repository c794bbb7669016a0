"""LocalKL against closed forms, on clusters, and against a plain implementation."""

from __future__ import annotations

import math

import pytest
import torch
from test_mi_knn import pairs
from test_mi_labels import classes, normal
from torch import Tensor

from grokplane.mi import JointKL
from grokplane.mi.degenerate import whiten
from grokplane.mi.entropy import kl_terms
from grokplane.mi.local_kl import LocalKL, local_metric, local_terms
from grokplane.mi.scale import at_one_scale


@pytest.mark.parametrize(("rho", "dims", "truth"), [(0.75, 1, 0.413339), (0.8, 2, 1.021651), (0.0, 2, 0.0)])
def test_correlated_normals(rho: float, dims: int, truth: float):
    value, error = LocalKL()(*pairs(rho, dims, 1000, lead=(4,)))
    assert abs(float(value.mean()) - truth) < 0.08
    assert 0.02 < float(error.mean()) < 0.15


def test_the_standard_error_is_that_of_repetitions():
    for rho in (0.0, 0.75):
        value, error = LocalKL()(*pairs(rho, 1, 200, lead=(40,)))
        assert 0.7 < float(error.mean() / value.std()) < 1.8


def test_no_bias_at_independence_in_eight_dimensions():
    assert abs(float(LocalKL()(*pairs(0.0, 4, 300, lead=(16,))).value.mean())) < 0.09


def test_information_within_clusters_far_apart():
    """JointKL misses part of the information, because the covariance does not resolve a cluster."""
    x, y = pairs(0.8, 2, 2000)
    angle = math.pi / 4 * torch.stack([classes(2000, of=8), classes(2000, of=8, seed=7)])
    places = 30 * torch.stack([angle.cos(), angle.sin()], -1)
    assert float(LocalKL()(x + places[0], y + places[1]).value) == pytest.approx(1.021651, abs=0.12)
    assert float(JointKL()(x + places[0], y + places[1]).value) < 0.85


@pytest.mark.parametrize("gap", [3.0, 30.0])
def test_clusters_in_a_row_give_the_entropy_of_their_labels(gap: float):
    label = classes(2000, of=4)[:, None]
    x, y = gap * label + normal(2000, 4), 1.5 * gap * label + normal(2000, 4, seed=9)
    assert float(LocalKL()(x, y).value) == pytest.approx(math.log(4), abs=0.16)
    assert float(JointKL()(x, y).value) > math.log(4) + 0.2


def test_the_value_is_the_difference_of_two_entropies_in_their_metrics():
    x, y = pairs(0.7, 2, 150)
    x, y = at_one_scale(x), at_one_scale(y)
    order = LocalKL(seed=3)._orders(x)[0]

    def entropy(rows: Tensor) -> float:
        shaped, log_det = local_metric(rows)
        return float(kl_terms(shaped, 1).mean() + log_det)

    expected = entropy(torch.cat([x, y[order]], 1)) - entropy(torch.cat([x, y], 1))
    assert float(LocalKL(seed=3)(x, y).value) == pytest.approx(expected, abs=1e-9)


def test_the_metric_is_a_linear_map_with_that_determinant():
    x = normal(400, 3) @ torch.diag(torch.tensor([1.0, 20, 0.01], dtype=torch.float64)) + 50 * classes(400)[:, None]
    shaped, log_det = local_metric(x)
    centred, image = x - x.mean(0), shaped - shaped.mean(0)
    matrix = torch.linalg.lstsq(centred, image).solution
    torch.testing.assert_close(centred @ matrix, image, rtol=0, atol=1e-6 * float(image.abs().max()))
    assert float(log_det) == pytest.approx(-float(torch.linalg.slogdet(matrix)[1]), abs=1e-6)


def test_the_entropy_of_thin_sheets_far_apart():
    x = normal(3000, 3) * torch.tensor([1.0, 30, 0.1]) + 1e3 * classes(3000, of=5)[:, None]
    truth = 1.5 * math.log(2 * math.pi * math.e) + math.log(3) + math.log(5)
    assert float(local_terms(x, 1).mean()) == pytest.approx(truth, abs=0.12)
    shaped, log_det = whiten(x)
    assert float(kl_terms(shaped, 1).mean() + log_det) > truth + 1


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_scale_of_a_side_does_not_matter(scale: float):
    x, y = pairs(0.8, 2, 200)
    assert float(LocalKL()(x * scale, y - 3).value) == pytest.approx(float(LocalKL()(x, y).value), abs=1e-8)


def test_linear_maps_of_normals_matter_little():
    x, y = pairs(0.9, 2, 1000)
    moved = LocalKL()(x @ normal(2, 2, seed=7), y @ normal(2, 2, seed=8)).value
    assert abs(float(moved - LocalKL()(x, y).value)) < 0.15


def test_batches_equal_loops_and_the_seed_alone_decides():
    x, y = pairs(0.5, 2, 60, lead=(2, 2))
    found = LocalKL(shuffles=2)(x, y)
    torch.manual_seed(5)
    for i in range(2):
        for j in range(2):
            alone = LocalKL(shuffles=2)(x[i, j], y[i, j])
            assert (found.value[i, j], found.std_error[i, j]) == (alone.value, alone.std_error)
    assert LocalKL(seed=1)(x, y).value[0, 0] != LocalKL()(x, y).value[0, 0]


def test_degenerate_sides():
    x, y = pairs(0.7, 2, 100)
    value = float(LocalKL()(x, y).value)
    wider = torch.cat([x, x[:, :1], torch.full((100, 1), 0.1)], 1)
    assert float(LocalKL()(torch.cat([wider, wider[:40]]), torch.cat([y, y[:40]])).value) == pytest.approx(
        value, abs=1e-8
    )
    assert LocalKL()(x, torch.ones(100, 2)) == (0, 0)
    with pytest.raises(ValueError, match="mutual information is infinite"):
        LocalKL()(x, x[:, :1] + x[:, 1:])
    with pytest.raises(ValueError, match="must have at least"):
        LocalKL()(x[:3], y[:3])
