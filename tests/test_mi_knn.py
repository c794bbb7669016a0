"""KSG, WeightedKL and JointKL against closed forms and slow references, and on degenerate samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import digamma, gamma, gammaln
from test_mi_entropy import psi
from test_mi_neighbours import gap, normal
from torch import Tensor

from grokplane.mi import KSG, Estimator, JointKL, WeightedKL
from grokplane.mi.entropy import kl_terms
from grokplane.mi.scale import at_one_scale
from grokplane.random import generator

KSG2 = KSG(variant=2)
ESTIMATORS: dict[str, Estimator] = {
    "ksg1": KSG(),
    "ksg2": KSG2,
    "weighted": WeightedKL(),
    "joint": JointKL(),
}
every = pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
WHITENED = pytest.mark.parametrize("estimator", [WeightedKL(), JointKL()], ids=["weighted", "joint"])


def pairs(rho: float, dims: int, count: int, seed: int = 0, lead: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
    """Correlated normal pairs; the information is -d/2 log(1 - rho^2)."""
    x = normal(*lead, count, dims, seed=seed)
    return x, rho * x + math.sqrt(1 - rho**2) * normal(*lead, count, dims, seed=seed + 100)


@every
@pytest.mark.parametrize(("rho", "dims", "truth"), [(0.75, 1, 0.413339), (0.8, 2, 1.021651), (0.0, 2, 0.0)])
def test_correlated_normals(estimator: Estimator, rho: float, dims: int, truth: float) -> None:
    value, error = estimator(*pairs(rho, dims, 1000, lead=(4,)))
    assert abs(float(value.mean()) - truth) < 0.07
    assert 0.01 < float(error.mean()) < 0.12


@every
@pytest.mark.parametrize(("width", "truth"), [(0.1, 1.709438), (0.75, 0.333333)])
def test_additive_uniform_noise(estimator: Estimator, width: float, truth: float) -> None:
    draws = torch.rand(3, 1000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, noise = draws[..., :1], width * (2 * draws[..., 1:] - 1)
    assert abs(float(estimator(x, x + noise).value.mean()) - truth) < 0.07


@every
def test_standard_errors_are_those_of_repetitions(estimator: Estimator) -> None:
    value, error = estimator(*pairs(0.75, 1, 200, lead=(60,)))
    assert 0.6 < float(error.mean() / value.std()) < 1.8


def test_joint_kl_is_unbiased_at_independence_in_eight_dimensions() -> None:
    value, _ = JointKL()(*pairs(0.0, 4, 300, lead=(20,)))
    assert abs(float(value.mean())) < 0.05


def slow_ksg(x: Tensor, y: Tensor, k: int, variant: int) -> float:
    """Kraskov's equations 8 and 9 by loops, on normalised sides."""
    x, y = at_one_scale(x), at_one_scale(y)
    count, total = len(x), 0.0
    for i in range(count):
        others = [(gap(x[i], x[j], "chebyshev"), gap(y[i], y[j], "chebyshev")) for j in range(count) if j != i]
        near = sorted(others, key=max)[:k]
        if variant == 1:
            numbers = [sum(other[side] < max(near[-1]) for other in others) + 1 for side in (0, 1)]
        else:
            numbers = [sum(other[s] <= max(n[s] for n in near) for other in others) for s in (0, 1)]
        total += psi(numbers[0]) + psi(numbers[1])
    return psi(k) + psi(count) - total / count - (0 if variant == 1 else 1 / k)


@pytest.mark.parametrize("variant", [1, 2])
@pytest.mark.parametrize("k", [1, 3])
def test_ksg_equals_its_slow_twin(variant: int, k: int) -> None:
    x, y = normal(60, 2), normal(60, 3, seed=1)
    y[:, :2] += x
    found = KSG(k=k, variant=variant)(x, y).value
    assert float(found) == pytest.approx(slow_ksg(x, y, k, variant), abs=1e-9)


def information_v3(x: np.ndarray, k: int) -> float:
    """Rescaled weighted entropy as published: whiten, n x n distances, minimum-norm weights by the pseudo-inverse."""
    n, d = x.shape
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(x.T)))
    z = (x - x.mean(0)) @ vectors / np.sqrt(values)
    j = np.array([1]) if d <= 4 else np.arange(1, d + 1) * k // d
    powers = 2 * np.arange(d // 4 + 1)[:, None] / d
    w = np.ones(1) if d <= 4 else np.linalg.pinv(gamma(j + powers) / gamma(j))[:, 0]
    r = np.sort(np.sqrt(((z[:, None] - z[None]) ** 2).sum(-1)), 1)[:, j]
    ball = d / 2 * np.log(np.pi) - gammaln(d / 2 + 1)
    return ((np.log(n - 1) - digamma(j) + ball + d * np.log(r)) @ w).mean() + np.log(values).sum() / 2


@pytest.mark.parametrize(("dx", "dy"), [(1, 1), (2, 2), (4, 4), (6, 3)])
def test_weighted_kl_is_the_published_form(dx: int, dy: int) -> None:
    x, y = normal(300, dx), normal(300, dy, seed=1)
    y[:, 0] += x[:, 0] ** 2
    both = np.hstack([x.numpy(), y.numpy()])
    wanted = information_v3(x.numpy(), 20) + information_v3(y.numpy(), 20) - information_v3(both, 20)
    assert float(WeightedKL()(x, y).value) == pytest.approx(wanted, abs=1e-9)


def slow_whitened_entropy(x: Tensor, k: int) -> float:
    values, vectors = torch.linalg.eigh(torch.atleast_2d(x.T.cov()))
    return float(kl_terms(x @ vectors / values.sqrt(), k).mean() + values.log().sum() / 2)


def test_joint_kl_is_the_difference_from_shuffled_pairs_of_all_three_entropies() -> None:
    x, y = pairs(0.7, 2, 100)

    def information(left: Tensor, right: Tensor) -> float:
        whole = torch.cat([left, right], 1)
        return slow_whitened_entropy(left, 3) + slow_whitened_entropy(right, 3) - slow_whitened_entropy(whole, 3)

    stream = generator(5, "shuffled pairs")
    shuffled = [information(x, y[torch.randperm(100, generator=stream)]) for _ in range(4)]
    wanted = information(x, y) - sum(shuffled) / 4
    assert float(JointKL(shuffles=4, seed=5)(x, y).value) == pytest.approx(wanted, abs=1e-9)


@WHITENED
def test_invariance_under_invertible_linear_maps(estimator: Estimator) -> None:
    x, y = pairs(0.8, 3, 300)
    moved = estimator(x @ normal(3, 3, seed=7) - 5, y @ normal(3, 3, seed=8) * 1e6)
    for found, wanted in zip(moved, estimator(x, y), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-8)


@every
@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6, 1e12])
def test_invariance_under_a_common_scale_and_order(estimator: Estimator, scale: float) -> None:
    x, y = pairs(0.8, 2, 200)
    value = estimator(x, y).value
    torch.testing.assert_close(estimator(x * scale, y * scale).value, value, rtol=0, atol=1e-8)
    torch.testing.assert_close(estimator(x.flip(1), y).value, value, rtol=0, atol=1e-8)


@pytest.mark.parametrize("estimator", [WeightedKL(rescale=False), WeightedKL()])
def test_invariance_under_rotation(estimator: Estimator) -> None:
    x, y = pairs(0.8, 3, 200)
    turn = torch.linalg.qr(normal(3, 3, seed=9)).Q
    torch.testing.assert_close(estimator(x @ turn, y @ turn).value, estimator(x, y).value, rtol=0, atol=1e-8)


@every
def test_exchanging_the_sides(estimator: Estimator) -> None:
    x, y = pairs(0.8, 2, 300)
    forth, back = estimator(x, y), estimator(y, x)
    assert abs(float(forth.value - back.value)) < (0.1 if isinstance(estimator, JointKL) else 1e-9)


@every
def test_batches_equal_loops_and_float32_is_accepted(estimator: Estimator) -> None:
    x, y = (side.float() for side in pairs(0.5, 2, 60, lead=(2, 3)))
    found = estimator(x[:1], y)
    for i in range(2):
        for j in range(3):
            alone = estimator(x[0, j].double(), y[i, j].double())
            assert found.value[i, j] == alone.value
            assert found.std_error[i, j] == alone.std_error


@every
def test_duplicate_pairs_count_once(estimator: Estimator) -> None:
    x, y = pairs(0.7, 2, 140)
    repeated = estimator(torch.cat([x, x[:60]]), torch.cat([y, y[:60]]))
    assert repeated.value == estimator(x, y).value


@every
def test_constant_columns_change_nothing(estimator: Estimator) -> None:
    x, y = pairs(0.7, 2, 100)
    wider = torch.cat([torch.full((100, 1), 0.1, dtype=torch.float64), x], 1)
    torch.testing.assert_close(estimator(wider, y).value, estimator(x, y).value, rtol=0, atol=1e-12)


@every
def test_a_copied_column_changes_nothing(estimator: Estimator) -> None:
    x, y = pairs(0.7, 2, 100)
    wider = torch.cat([x, x[:, :1]], 1)
    torch.testing.assert_close(estimator(wider, y).value, estimator(x, y).value, rtol=0, atol=1e-9)


@every
def test_a_constant_side_carries_nothing(estimator: Estimator) -> None:
    x = normal(50, 2)
    for pair in ((x, torch.full((50, 3), 0.3)), (x * 0, x), (x * 0, x * 0)):
        assert estimator(*pair) == (0, 0)


@every
def test_a_dead_layer_and_an_outlier_stay_finite(estimator: Estimator) -> None:
    x, y = pairs(0.7, 2, 100)
    x[:30] = 0
    y[50] = 1e12
    assert all(math.isfinite(part) for part in estimator(x, y))


@pytest.mark.parametrize("estimator", [KSG(), KSG2], ids=["ksg1", "ksg2"])
def test_a_row_far_out_does_ksg_no_harm(estimator: Estimator) -> None:
    x, y = pairs(0.7, 2, 500)
    value = estimator(x, y).value
    x[0] = y[0] = 1e12
    assert abs(float(estimator(x, y).value - value)) < 0.05


def test_ksg_bears_equal_values_on_one_side() -> None:
    x, y = pairs(0.0, 2, 500)
    x[100:250] = 0
    assert abs(float(KSG()(x, y).value)) < 0.1


def test_a_copy_of_x_has_infinite_information() -> None:
    x = normal(100, 2)
    for estimator in (WeightedKL(), JointKL()):
        with pytest.raises(ValueError, match="their mutual information is infinite"):
            estimator(x, 3 * x[:, :1] - x[:, 1:] + 2)
    assert 3 < float(KSG()(x, x).value) < math.log(100)


@every
def test_too_few_samples_are_refused(estimator: Estimator) -> None:
    x, y = pairs(0.5, 2, 3)
    with pytest.raises(ValueError, match="must have at least"):
        estimator(x, y)
    with pytest.raises(ValueError, match="must have at least"):
        estimator(x.repeat(7, 1), y.repeat(7, 1))


@every
def test_spoilt_or_unpaired_samples_are_refused(estimator: Estimator) -> None:
    x, y = pairs(0.5, 2, 30)
    with pytest.raises(ValueError, match="y holds NaN"):
        estimator(x, y.index_fill(0, torch.tensor([4]), math.nan))
    with pytest.raises(ValueError, match="x has 30 samples, y has 29"):
        estimator(x, y[:29])
    with pytest.raises(ValueError, match=r"must be \[\.\.\., samples, dimensions\]"):
        estimator(x[:, 0], y)


def test_jointly_shuffled_values_depend_on_the_seed_alone() -> None:
    x, y = pairs(0.5, 1, 100)
    torch.manual_seed(3)
    first = JointKL(seed=1)(x, y).value
    torch.manual_seed(4)
    assert first == JointKL(seed=1)(x, y).value
    assert first != JointKL(seed=2)(x, y).value


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="variant=3: must be at least 1 and at most 2"):
        KSG(variant=3)
    with pytest.raises(ValueError, match="shuffles=0"):
        JointKL(shuffles=0)
