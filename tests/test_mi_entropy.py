"""Entropies against closed forms, slow twins and awkward samples."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from test_mi_neighbours import gap, normal
from torch import Tensor

from grokplane.mi import Estimate, KDEEntropy, KozachenkoLeonenko, WeightedEntropy
from grokplane.mi.entropy import _tell_that_k_has_no_effect, neighbour_weights
from grokplane.mi.kde_entropy import least_squares, likelihood

ENTROPIES = [KozachenkoLeonenko(), WeightedEntropy(), KDEEntropy(), KDEEntropy("least_squares")]
BY_NEIGHBOURS = ENTROPIES[:2]
IDS = ["kl", "weighted", "likelihood", "least_squares"]


def uniform(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def normal_entropy(dims: int) -> float:
    return dims / 2 * math.log(2 * math.pi * math.e)


@pytest.mark.parametrize("entropy", ENTROPIES, ids=IDS)
@pytest.mark.parametrize("dims", [1, 3])
def test_entropy_of_a_normal(entropy: KozachenkoLeonenko, dims: int) -> None:
    value, error = entropy(normal(1000, dims))
    assert abs(float(value) - normal_entropy(dims)) < 0.12
    assert 0.01 < float(error) < 0.1


@pytest.mark.parametrize("entropy", ENTROPIES, ids=IDS)
def test_entropy_of_a_uniform(entropy: KozachenkoLeonenko) -> None:
    assert abs(float(entropy(5 * uniform(1000, 1)).value) - math.log(5)) < 0.1


def test_weights_take_the_bias_of_far_neighbours_away_in_eight_dimensions() -> None:
    x, truth = normal(10, 500, 8), normal_entropy(8)
    plain, weighted = (
        float(entropy(x).value.mean()) - truth for entropy in (KozachenkoLeonenko(k=20), WeightedEntropy(k=20))
    )
    assert plain > 0.2
    assert abs(weighted) < 0.15


@pytest.mark.parametrize("entropy", BY_NEIGHBOURS, ids=IDS[:2])
def test_standard_errors_are_those_of_repetitions(entropy: KozachenkoLeonenko) -> None:
    value, error = entropy(normal(100, 200, 2))
    assert 0.7 < float(error.mean() / value.std()) < 1.3


def ball_log_volume(dims: int) -> float:
    return math.log(math.pi ** (dims / 2) / math.gamma(dims / 2 + 1))


def psi(number: int) -> float:
    return -0.5772156649015329 + sum(1 / j for j in range(1, number))


def slow_neighbour_entropy(x: Tensor, weights: dict[int, float]) -> float:
    """The formula of facts, by loops."""
    count, dims = x.shape
    total = 0.0
    for i in range(count):
        ordered = sorted(gap(x[i], x[j], "euclidean") for j in range(count) if j != i)
        for number, weight in weights.items():
            constant = math.log(count - 1) - psi(number) + ball_log_volume(dims)
            total += weight * (constant + dims * math.log(ordered[number - 1]))
    return total / count


@pytest.mark.parametrize("k", [1, 3])
def test_kozachenko_leonenko_equals_its_slow_twin(k: int) -> None:
    x = normal(60, 3)
    found = KozachenkoLeonenko(k=k, rescale=False)(x).value
    assert float(found) == pytest.approx(slow_neighbour_entropy(x, {k: 1.0}), abs=1e-9)


def test_weighted_entropy_equals_its_slow_twin() -> None:
    x = normal(60, 6)
    weights = {m * 20 // 6: float(neighbour_weights(6, 20)[m * 20 // 6 - 1]) for m in range(1, 7)}
    found = WeightedEntropy(k=20, rescale=False)(x).value
    assert float(found) == pytest.approx(slow_neighbour_entropy(x, weights), abs=1e-9)


@pytest.mark.parametrize(("dims", "k"), [(5, 20), (8, 20), (8, 8), (13, 30)])
def test_weights_meet_their_equations_and_are_the_smallest(dims: int, k: int) -> None:
    weights = torch.as_tensor(neighbour_weights(dims, k))
    support = torch.tensor([m * k // dims for m in range(1, dims + 1)])
    assert set(weights.nonzero()[:, 0].add(1).tolist()) <= set(support.tolist())
    powers = torch.arange(dims // 4 + 1, dtype=torch.float64)[:, None] * 2 / dims
    system = torch.exp(torch.lgamma(support + powers) - torch.lgamma(support.double()))
    used = weights[support - 1]
    target = torch.eye(len(powers), dtype=torch.float64)[0]
    torch.testing.assert_close(system @ used, target, rtol=0, atol=1e-8)
    coefficients = torch.linalg.lstsq(system.T, used[:, None]).solution
    torch.testing.assert_close(system.T @ coefficients, used[:, None], rtol=0, atol=1e-8)


def test_weights_in_few_dimensions_are_on_the_first_neighbour_and_it_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _tell_that_k_has_no_effect.cache_clear()
    neighbour_weights.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert neighbour_weights(4, 1).tolist() == [1]
        assert not caplog.records
        assert neighbour_weights(4, 3).tolist() == [1, 0, 0]
        assert neighbour_weights(2, 20)[0] == 1
    assert ["k has no effect" in record.message for record in caplog.records] == [True]
    x = normal(50, 4)
    assert torch.equal(WeightedEntropy(k=20)(x).value, WeightedEntropy(k=1)(x).value)


def test_too_few_neighbours_for_the_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="k=7 in 8 dimensions"):
        WeightedEntropy(k=7)(normal(50, 8))


def slow_density(x: Tensor, width: float) -> list[float]:
    """Leave-one-out Gaussian kernel densities by loops."""
    count, dims = x.shape
    norm = (count - 1) * (width * math.sqrt(2 * math.pi)) ** dims
    squares = [[gap(a, b, "euclidean") ** 2 for b in x] for a in x]
    return [sum(math.exp(-squares[i][j] / (2 * width**2)) for j in range(count) if j != i) / norm for i in range(count)]


def test_kernel_scores_equal_their_slow_twins() -> None:
    x, width = normal(40, 2), 0.4
    square = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") ** 2
    densities = slow_density(x, width)
    assert likelihood(square, 2, width) == pytest.approx(sum(map(math.log, densities)) / 40, abs=1e-9)
    overlap = sum(math.exp(-float(d) / (4 * width**2)) for d in square.flatten()) / (40**2 * 4 * math.pi * width**2)
    assert least_squares(square, 2, width) == pytest.approx(2 * sum(densities) / 40 - overlap, abs=1e-9)


@pytest.mark.parametrize("rule", ["likelihood", "least_squares"])
def test_kernel_entropy_is_that_of_the_best_bandwidth(rule: str) -> None:
    x = normal(40, 1)
    square = (x - x.T) ** 2
    score = {"likelihood": likelihood, "least_squares": least_squares}[rule]
    best = max((0.05 * 1.01**step for step in range(350)), key=lambda width: score(square, 1, width))
    wanted = -sum(math.log(f) for f in slow_density(x, best)) / 40
    assert float(KDEEntropy(rule, rescale=False)(x).value) == pytest.approx(wanted, abs=5e-3)


@pytest.mark.parametrize("entropy", ENTROPIES, ids=IDS)
def test_a_linear_map_adds_its_log_determinant(entropy: KozachenkoLeonenko) -> None:
    x, matrix = normal(300, 3), normal(3, 3, seed=5)
    wanted = entropy(x).value + torch.linalg.slogdet(matrix).logabsdet
    torch.testing.assert_close(entropy(x @ matrix + 4).value, wanted, rtol=0, atol=1e-8)
    for scale in (1e-12, 1e-6, 1e6, 1e12):
        wanted = entropy(x).value + 3 * math.log(scale)
        torch.testing.assert_close(entropy(x * scale).value, wanted, rtol=0, atol=1e-8)


@pytest.mark.parametrize("entropy", ENTROPIES, ids=IDS)
def test_batches_equal_loops_and_float32_is_accepted(entropy: KozachenkoLeonenko) -> None:
    x = normal(2, 3, 60, 2).float()
    found = entropy(x)
    looped = [[entropy(sample.double()) for sample in line] for line in x]
    assert found.value.dtype == torch.float64
    assert torch.equal(found.value, torch.stack([torch.stack([one.value for one in line]) for line in looped]))
    assert torch.equal(found.std_error, torch.stack([torch.stack([one.std_error for one in line]) for line in looped]))


@pytest.mark.parametrize("entropy", ENTROPIES, ids=IDS)
def test_duplicate_rows_count_once(entropy: KozachenkoLeonenko) -> None:
    x = normal(100, 2)
    once, twice = entropy(x), entropy(torch.cat([x, x[:30]]))
    assert torch.equal(once.value, twice.value)
    assert torch.equal(once.std_error, twice.std_error)


@pytest.mark.parametrize("entropy", ENTROPIES, ids=IDS)
def test_an_outlier_leaves_entropies_finite(entropy: KozachenkoLeonenko) -> None:
    x = normal(100, 2)
    x[3] = 1e12
    assert all(math.isfinite(part) for part in Estimate(*entropy(x)))


@pytest.mark.parametrize("entropy", ENTROPIES, ids=IDS)
def test_samples_without_a_density_are_refused(entropy: KozachenkoLeonenko) -> None:
    x = normal(50, 2)
    for spoilt in (torch.cat([x, x[:, :1] * 2 + 1], 1), torch.cat([x, torch.ones(50, 1)], 1)):
        with pytest.raises(ValueError, match="3 columns of rank 2: its entropy is minus infinity"):
            entropy(spoilt)
    with pytest.raises(ValueError, match="must have at least"):
        entropy(x[:3])
    with pytest.raises(ValueError, match="NaN"):
        entropy(x * math.nan)


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="k=0: must be at least 1"):
        KozachenkoLeonenko(k=0)
    with pytest.raises(ValueError, match="allowed: likelihood, least_squares"):
        KDEEntropy("silverman")


def test_distances_that_vanish_in_float64_are_refused() -> None:
    with pytest.raises(ValueError, match="at distance 0 in float64"):
        KozachenkoLeonenko(rescale=False)(normal(50, 2) * 1e-200)
