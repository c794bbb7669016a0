"""Sliced information against the mean over slices, and the fast path by sorting."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from grokplane.mi import KSG, Ross, Sliced, counts, distances, sliced
from grokplane.mi.sliced import frames
from grokplane.mi.sorted1d import count_within, kth_distance
from tests.test_mi_labels import classes, normal


def lines(kind: str) -> Tensor:
    """Three sample sets of 50 sorted points on a line [3, 50]."""
    x = normal(3, 50)
    if kind == "ties":
        x = (x * 4).round() / 4
    elif kind == "far away":
        x = 1e6 + 1e-6 * x
    elif kind == "tiny":
        x = 1e-12 * x
    return x.sort(-1).values


@pytest.mark.parametrize("kind", ["plain", "ties", "far away", "tiny"])
@pytest.mark.parametrize("k", [1, 3, 49])
def test_sorted_neighbours_equal_brute_force(kind: str, k: int) -> None:
    x = lines(kind)
    radius = kth_distance(x, k)
    assert torch.equal(radius, distances(x[..., None], k, "chebyshev", "brute")[..., -1])
    for reach in (radius, radius.flip(0), torch.zeros_like(radius)):
        for strict in (True, False):
            expected = counts(x[..., None], reach, strict=strict, backend="brute")
            assert torch.equal(count_within(x, reach, strict=strict), expected)


@pytest.mark.parametrize("size", [1, 2])
def test_sliced_is_the_mean_over_slices(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(80, 4), normal(80, 3, seed=5)
    y[:, 0] += x[:, 1]
    left, right = (frames(9, d, size, 4, side) for d, side in ((4, "x"), (3, "y")))
    values = [KSG(2)(x @ a, y @ b).value.item() for a, b in zip(left, right, strict=True)]
    for chunk in (2**20, 400):
        monkeypatch.setattr(sliced, "CHUNK", chunk)
        found = Sliced(projections=9, k=2, slice_dim=size, seed=4)(x, y)
        assert found.value.item() == pytest.approx(sum(values) / 9, abs=1e-9)


@pytest.mark.parametrize("size", [1, 2])
def test_sliced_against_labels_is_the_mean_over_slices(size: int) -> None:
    x, y = normal(80, 4), classes(80, of=5)
    y[3], y[4:6] = 50, 60  # a class of one, a class of two
    x[:, 1] += y % 5
    x[60:] = x[40:60]
    values = [Ross(2)(x @ a, y).value.item() for a in frames(9, 4, size, 4)]
    found = Sliced(projections=9, k=2, slice_dim=size, seed=4)(x, y)
    assert found.value.item() == pytest.approx(sum(values) / 9, abs=1e-9)


def test_frames_are_orthonormal_and_uniform() -> None:
    a = frames(4000, 3, 2, 0)
    assert torch.allclose(a.mT @ a, torch.eye(2, dtype=torch.float64).expand(4000, 2, 2), atol=1e-12)
    projector = (a @ a.mT).mean(0)
    assert torch.allclose(projector, 2 / 3 * torch.eye(3, dtype=torch.float64), atol=0.03)
    assert torch.equal(frames(4000, 3, 2, 0), a)
    assert not torch.equal(frames(4000, 3, 2, 1), a)


def test_sliced_information_of_normal_pairs() -> None:
    """A slice (a'X, b'Y) is a normal pair with correlation rho a'b; its information is averaged here over a and b."""
    rho, dims = 0.9, 3
    draws = [frames(200_000, dims, 1, 9, side) for side in ("x", "y")]
    truth = float(-0.5 * torch.log1p(-((rho * (draws[0] * draws[1]).sum((1, 2))) ** 2)).mean())
    x = normal(1000, dims)
    y = rho * x + math.sqrt(1 - rho**2) * normal(1000, dims, seed=3)
    found = Sliced(projections=300)(x, y)
    assert abs(found.value.item() - truth) < 3.5 * found.std_error.item()
    assert found.std_error.item() < 0.03


def test_sliced_standard_error_covers_samples_and_projections() -> None:
    x, noise = normal(60, 100, 3), normal(60, 100, 3, seed=2)
    found = [Sliced(projections=20, seed=i)(x[i], x[i] + noise[i]) for i in range(60)]
    spread = torch.stack([one.value for one in found]).std()
    assert 0.7 < torch.stack([one.std_error for one in found]).mean().item() / spread.item() < 1.4


def test_batched_equals_looped_and_global_streams_rest() -> None:
    x, y = normal(2, 3, 40, 3), normal(3, 40, 2, seed=6)
    before = torch.get_rng_state()
    found = Sliced(projections=5)(x, y)
    assert torch.equal(before, torch.get_rng_state())
    for i in range(2):
        for j in range(3):
            alone = Sliced(projections=5)(x[i, j], y[j])
            assert alone.value.item() == found.value[i, j].item()
            assert alone.std_error.item() == found.std_error[i, j].item()


@pytest.mark.parametrize("case", ["constant side", "constant column", "duplicates", "outlier", "float32", "scale"])
def test_nasty_input(case: str) -> None:
    x, y, estimator = normal(60, 3), normal(60, 2, seed=4), Sliced(projections=8)
    plain = estimator(x, y)
    if case == "constant side":
        assert estimator(torch.full((60, 3), 0.1), y) == estimator(x, torch.zeros(60, 2)) == (0, 0)
    elif case == "duplicates":
        again = estimator(torch.cat([x, x[:20]]), torch.cat([y, y[:20]]))
        assert again.value.item() == pytest.approx(plain.value.item(), abs=1e-9)
        half = estimator(torch.cat([x[:40], x[:20]]), y)
        assert torch.isfinite(half.value)
    elif case == "scale":
        both = estimator(x * 2.0**-40, y * 2.0**-40)
        assert both.value.item() == pytest.approx(plain.value.item(), abs=1e-9)
    else:
        if case == "constant column":
            x[:, 0] = 0.1
        elif case == "outlier":
            x[0] = 1e12
        found = estimator(x.float() if case == "float32" else x, y)
        assert abs(found.value.item()) < 0.5
        assert 0 < found.std_error.item() < 0.5


def test_refusals() -> None:
    x, y = normal(30, 2), normal(30, 3)
    with pytest.raises(ValueError, match="x has 2 columns: must have at least slice_dim=3"):
        Sliced(slice_dim=3)(x, y)
    with pytest.raises(ValueError, match="y has 2 columns"):
        Sliced(slice_dim=3)(y, x)
    with pytest.raises(ValueError, match="must be finite"):
        Sliced()(x / 0, y)
    with pytest.raises(ValueError, match="must be pairs"):
        Sliced()(x, y[1:])
    with pytest.raises(ValueError, match="must have at least 5"):
        Sliced()(x[:4], y[:4])
    with pytest.raises(ValueError, match="projections=1"):
        Sliced(projections=1)
