"""Bounds and estimates for layers with known noise, and the bound from a trained critic."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from grokplane.mi import KDE, PCA, ConvAutoencoder, InfoNCE, KnownNoise, kde_bounds
from tests.test_mi_labels import classes, normal

BOUNDS = ["lower", "upper"]


def density_entropy(centres: np.ndarray, sigma: float) -> float:
    """Entropy of an equal mixture of normals on a line, by integration."""
    grid = np.linspace(centres.min() - 12 * sigma, centres.max() + 12 * sigma, 60001)
    density = np.exp(-((grid[:, None] - centres) ** 2) / (2 * sigma**2)).mean(1) / (sigma * math.sqrt(2 * math.pi))
    return float(np.trapezoid(-density * np.log(np.maximum(density, 1e-300)), grid))


def pair_bound_by_loops(x: Tensor, y: Tensor, variance: float, bound: str) -> float:
    """Kolchinsky and Tracey's bound on I(T;Y) by plain loops."""

    def above_noise(rows: list[list[float]], bound: str) -> float:
        s = variance * (8 if bound == "lower" else 2)
        inner = [sum(math.exp(-(math.dist(a, b) ** 2) / s) for b in rows) / len(rows) for a in rows]
        return -sum(math.log(value) for value in inner) / len(rows)

    total = above_noise(x.tolist(), bound)
    opposite = "upper" if bound == "lower" else "lower"
    parts = [x[y == label].tolist() for label in y.unique()]
    return total - sum(len(part) / len(x) * above_noise(part, opposite) for part in parts)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0, 5.0])
def test_the_bounds_hold_the_truth_between_them(sigma: float) -> None:
    x = normal(12, 1, seed=3)
    y = classes(12, of=3, seed=2)
    noisy = density_entropy(x.numpy()[:, 0], sigma)
    given_x = 0.5 * math.log(2 * math.pi * math.e * sigma**2)
    given_y = sum((y == c).double().mean().item() * density_entropy(x[y == c].numpy()[:, 0], sigma) for c in y.unique())
    lower, upper = (KDE(sigma**2, bound)(x).value.item() for bound in BOUNDS)
    assert -1e-9 <= lower <= noisy - given_x + 1e-6
    assert noisy - given_x - 1e-6 <= upper <= math.log(12)
    lower, upper = (KDE(sigma**2, bound)(x, y).value.item() for bound in BOUNDS)
    assert lower - 1e-6 <= noisy - given_y <= upper + 1e-6


@pytest.mark.parametrize("bound", BOUNDS)
def test_pair_bounds_against_loops_over_blocks(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(50, 3), classes(50, of=4)
    y[0] = 9
    expected = pair_bound_by_loops(x, y, 0.4, bound)
    whole = pair_bound_by_loops(x, torch.arange(50), 0.4, bound)
    for size in (1024, 7):
        monkeypatch.setattr(kde_bounds, "BLOCK", size)
        assert KDE(0.4, bound)(x, y).value.item() == pytest.approx(expected, abs=1e-9)
        assert KDE(0.4, bound)(x).value.item() == pytest.approx(whole, abs=1e-9)
        assert KDE(0.4, bound)(x, torch.arange(50)).value.item() == pytest.approx(whole, abs=1e-9)


@pytest.mark.parametrize("bound", BOUNDS)
def test_pair_bounds_at_their_ends(bound: str) -> None:
    same, apart = torch.full((40, 3), 0.1), 1e6 * normal(40, 3)
    assert KDE(1.0, bound)(same).value.item() == pytest.approx(0, abs=1e-12)
    found = KDE(1.0, bound)(apart)
    assert found.value.item() == pytest.approx(math.log(40), abs=1e-12)
    assert found.std_error.item() == pytest.approx(0, abs=1e-9)
    for x in (normal(40, 3), 1e-3 * normal(40, 3)):
        assert KDE(1e-6, bound)(x * 1e-3).value.item() == pytest.approx(KDE(1.0, bound)(x).value.item(), abs=1e-9)


@pytest.mark.parametrize("bound", BOUNDS)
def test_small_distances_far_from_the_origin(bound: str) -> None:
    """Powers of two are exact in the rows, so that only distances could lose precision."""
    x = (normal(40, 2) * 64).round() / 64
    near, far = KDE(0.01, bound)(x), KDE(0.01, bound)(x + 2.0**30)
    assert far.value.item() == pytest.approx(near.value.item(), abs=1e-9)


@pytest.mark.parametrize("against_labels", [False, True])
@pytest.mark.parametrize("variance", [0.03, 1.0])
def test_standard_error_of_the_bounds(variance: float, against_labels: bool) -> None:
    x, y = normal(80, 150, 2), classes(80, 150, of=2)
    x[..., 0] += 2 * y
    found = KDE(variance)(x, y) if against_labels else KDE(variance)(x)
    assert 0.7 < found.std_error.mean().item() / found.value.std().item() < 1.4


def test_refusals_of_the_bounds() -> None:
    with pytest.raises(ValueError, match="noise_variance=0"):
        KDE(0.0)
    with pytest.raises(ValueError, match="lower, upper"):
        KDE(1.0, "middle")
    with pytest.raises(ValueError, match="integer labels"):
        KDE(1.0)(normal(20, 2), normal(20))
    with pytest.raises(ValueError, match="must be pairs"):
        KDE(1.0)(normal(20, 2), classes(19))


def channel() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Input X, layer M X + Z, M and the covariance of Z, for X standard normal in 2 dimensions."""
    mixing = torch.tensor([[2.0, 0.5], [0.0, 1.0]], dtype=torch.float64)
    covariance = torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)
    x = normal(1500, 2)
    noise = normal(1500, 2, seed=7) @ torch.linalg.cholesky(covariance).T
    return x, x @ mixing.T + noise, mixing, covariance


def gaussian_truth(signal: Tensor, noise: Tensor) -> float:
    return 0.5 * float(torch.logdet(signal + noise) - torch.logdet(noise))


def test_known_noise_against_the_gaussian_channel() -> None:
    x, t, mixing, covariance = channel()
    found = KnownNoise(covariance)(x, t)
    truth = gaussian_truth(mixing @ mixing.T, covariance)
    assert abs(found.value.item() - truth) < 3.5 * found.std_error.item()
    code = PCA(1).fit(t)
    truth = gaussian_truth(code.matrix @ mixing @ mixing.T @ code.matrix.T, code.matrix @ covariance @ code.matrix.T)
    found = KnownNoise(covariance, compressor=code)(x, t)
    assert abs(found.value.item() - truth) < 3.5 * found.std_error.item()


def test_known_noise_does_not_change_with_the_coordinates() -> None:
    x, t, mixing, covariance = channel()
    plain = KnownNoise(covariance)(x, t).value.item()
    turned = KnownNoise(mixing @ covariance @ mixing.T)(x, t @ mixing.T).value.item()
    whitened = KnownNoise(covariance, compressor=PCA(2, whiten=True).fit(t))(x, t).value.item()
    assert turned == pytest.approx(plain, abs=1e-9)
    assert whitened == pytest.approx(plain, abs=1e-9)
    for scale in (2.0**-40, 2.0**40):
        assert KnownNoise(covariance * scale**2)(x, t * scale).value.item() == pytest.approx(plain, abs=1e-9)


def test_known_noise_as_number_diagonal_and_matrix() -> None:
    x, t, *_ = channel()
    forms = [0.25, torch.tensor([0.25, 0.25]), 0.25 * torch.eye(2)]
    values = [KnownNoise(form)(x, t).value.item() for form in forms]
    assert values[1:] == pytest.approx([values[0]] * 2, abs=1e-12)


def test_known_noise_leaves_dropped_directions_out_and_batches() -> None:
    signal = normal(2, 3, 120, 2) @ normal(2, 9, seed=4) * 3
    t = signal + 0.1 * normal(2, 3, 120, 9, seed=5)
    x = normal(2, 3, 120, 1)
    choice = PCA(5, noise_variance=0.01)
    code = choice.fit(t)
    assert (code.kept == 2).all()
    found = KnownNoise(0.01, compressor=code)(x, t)
    for i in range(2):
        for j in range(3):
            alone = KnownNoise(0.01, compressor=PCA(2).fit(t[i, j]))(x[i, j], t[i, j])
            assert found.value[i, j].item() == pytest.approx(alone.value.item(), abs=1e-9)
            assert found.std_error[i, j].item() == pytest.approx(alone.std_error.item(), abs=1e-9)
    noise = 0.1 * normal(60, 4)
    assert KnownNoise(0.01, compressor=PCA(2, noise_variance=0.1).fit(noise))(noise, noise) == (0, 0)


def test_known_noise_refuses_what_it_does_not_hold_for() -> None:
    x, t, _, covariance = channel()
    with pytest.raises(ValueError, match="upstream"):
        KnownNoise(covariance, noise_upstream=True)
    with pytest.raises(ValueError, match="not linear"):
        KnownNoise(covariance, compressor=ConvAutoencoder(dim=1, steps=1, channels=1).fit(normal(9, 16)))
    for wrong in (-1.0, torch.tensor([[1.0, 2.0], [2.0, 1.0]]), torch.tensor([[1.0, 0.5], [0.0, 1.0]]), math.nan):
        with pytest.raises(ValueError, match="positive definite"):
            KnownNoise(wrong)(x, t)
    with pytest.raises(ValueError, match="must be for 2 coordinates"):
        KnownNoise(torch.eye(3))(x, t)
    with pytest.raises(ValueError, match="must be pairs"):
        KnownNoise(covariance)(x[:-1], t)
    with pytest.raises(ValueError, match="fewer directions"):
        KnownNoise(covariance)(x, t[:, :1].expand(-1, 2))
    with pytest.raises(ValueError, match="must have at least 5"):
        KnownNoise(covariance)(x[:4], t[:4])


def pairs(rho: float, count: int = 1000) -> tuple[Tensor, Tensor]:
    x, other = normal(count, 2).split(1, 1)
    return x, rho * x + math.sqrt(1 - rho**2) * other


def test_the_trained_bound_on_normal_pairs() -> None:
    for rho in (0.0, 0.75):
        found = InfoNCE()(*pairs(rho))
        truth = -0.5 * math.log(1 - rho**2)
        assert truth - 0.12 - 2 * found.std_error.item() < found.value.item() < truth + 3 * found.std_error.item()


def test_the_trained_bound_has_a_ceiling() -> None:
    x = normal(400, 8)
    found = InfoNCE(batch_size=8)(x, x)
    assert math.log(8) - 0.3 < found.value.item() <= math.log(8)


def test_the_trained_bound_on_labels_and_nasty_input() -> None:
    y = classes(400, of=3)
    x = torch.cat([8.0 * y[:, None] + normal(400, 1), torch.full((400, 1), 0.1)], 1)
    plain = InfoNCE(steps=100)(x, y).value.item()
    assert math.log(3) - 0.15 < plain < math.log(3) + 0.05
    for scale in (2.0**-40, 2.0**40):
        assert InfoNCE(steps=100)(x * scale, y).value.item() == pytest.approx(plain, abs=1e-6)
    x[0] = 1e12
    assert math.isfinite(InfoNCE(steps=20)(x, y).value.item())
    assert math.isfinite(InfoNCE(steps=20)(x[:5], y[:5]).value.item())
    with pytest.raises(ValueError, match="at least 4"):
        InfoNCE()(x[:3], y[:3])


def test_the_trained_bound_depends_on_its_seed_alone() -> None:
    x, y = normal(2, 60, 2), normal(2, 60, 1, seed=3)
    before = torch.get_rng_state()
    found = InfoNCE(steps=20)(x, y)
    assert torch.equal(before, torch.get_rng_state())
    for i in range(2):
        assert InfoNCE(steps=20)(x[i], y[i]).value.item() == found.value[i].item()
    assert InfoNCE(seed=1, steps=20)(x, y).value.tolist() != found.value.tolist()
