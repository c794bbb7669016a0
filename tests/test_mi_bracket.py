"""Both bounds of the information of a layer with known noise, against a slow reference."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from torch import Tensor

from grokplane.mi import bracket, kde_bounds
from tests.test_mi_labels import classes, normal


def clusters(count: int, dims: int, spread: float) -> Tensor:
    return normal(12, dims, seed=5)[classes(count, of=12)] + spread * normal(count, dims, seed=6)


def bounds_in_numpy(x: Tensor, variance: float) -> list[float]:
    """Kolchinsky and Tracey's two bounds from the full distance matrix."""
    square = cdist(x.numpy(), x.numpy()) ** 2
    return [math.log(len(x)) - logsumexp(-square / (s * variance), 1).mean() for s in (8, 2)]


def assert_bounds(x: Tensor, variance: float) -> None:
    found = bracket(x, variance)
    assert [float(bound) for bound in found] == pytest.approx(bounds_in_numpy(x, variance), abs=1e-9)
    assert 0 <= float(found.lower) <= float(found.upper) <= math.log(len(x))


@pytest.mark.parametrize("dims", [1, 32])
@pytest.mark.parametrize("sigma", [1e-6, 1e-2, 0.1, 1.0, 10.0])
def test_the_bracket_is_that_of_its_slow_twin(dims: int, sigma: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kde_bounds, "BLOCK", 128)
    assert_bounds(normal(300, dims), sigma**2)
    assert_bounds(clusters(300, dims, 0.02), sigma**2)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_bracket_does_not_change_with_a_common_scale(scale: float) -> None:
    x = clusters(200, 32, 0.05)
    plain, scaled = bracket(x, 0.01), bracket(x * scale, 0.01 * scale**2)
    assert scaled.lower.item() == pytest.approx(plain.lower.item(), abs=1e-9)
    assert scaled.upper.item() == pytest.approx(plain.upper.item(), abs=1e-9)


def test_the_bracket_at_its_ends() -> None:
    for rows in (torch.full((101, 7), 0.1), torch.full((2, 1), -1e9)):
        assert bracket(rows, 1e-30) == (0, 0)
    for apart in (1e6 * normal(500, 3), 1e100 * torch.eye(40).double()):
        found = bracket(apart, 1e-6)
        assert found.lower.item() == pytest.approx(math.log(len(apart)), abs=1e-12)
        assert found.lower <= found.upper <= math.log(len(apart))
    assert bracket(normal(50, 3), 1e300).upper.item() == pytest.approx(0, abs=1e-12)


def test_the_bracket_far_from_the_origin_and_beside_an_outlier() -> None:
    """Powers of two are exact in the rows, so that only distances could lose precision."""
    exact = (normal(200, 4) * 64).round() / 64
    near, far = bracket(exact, 0.01), bracket(exact + 2.0**30, 0.01)
    assert far.lower.item() == pytest.approx(near.lower.item(), abs=1e-9)
    for size in (1e5, 1e12):
        exact[3] = size
        assert_bounds(exact, 0.01)


def test_duplicate_rows_are_indistinguishable() -> None:
    x = normal(60, 6)
    assert bracket(x.repeat(2, 1), 0.3).upper.item() == pytest.approx(bracket(x, 0.3).upper.item(), abs=1e-12)


def test_the_bracket_takes_leading_axes() -> None:
    x, variance = normal(3, 1, 40, 4), torch.tensor([0.1, 2.0])
    found = bracket(x, variance)
    assert found.lower.shape == found.upper.shape == (3, 2)
    for i in range(3):
        for j in range(2):
            alone = bracket(x[i, 0], float(variance[j]))
            assert (found.lower[i, j], found.upper[i, j]) == (alone.lower, alone.upper)
    assert bracket(x[:0], 1.0).lower.shape == (0, 1)


@pytest.mark.parametrize("variance", [0.0, -1.0, math.inf, math.nan])
def test_a_variance_that_is_none_is_refused(variance: float) -> None:
    with pytest.raises(ValueError, match="noise_variance"):
        bracket(normal(10, 2), variance)
