"""Entropies against closed forms and slow references, and on degenerate samples."""

from __future__ import annotations

import logging
import math
from functools import partial

import pytest
import torch
from test_mi_neighbours import gap, normal
from torch import Tensor

from grokplane.mi.entropy import (
    Rule,
    _tell_that_k_has_no_effect,
    entropy_of,
    kl_terms,
    neighbour_weights,
    weighted_terms,
)

RULES: dict[str, Rule] = {"kl": partial(kl_terms, k=3), "weighted": partial(weighted_terms, k=20)}


def entropy(x: Tensor, rule: Rule, rescale: bool = True) -> float:
    return float(entropy_of(x, rule, rescale).value)


def uniform(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def normal_entropy(dims: int) -> float:
    return dims / 2 * math.log(2 * math.pi * math.e)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dims", [1, 3])
def test_entropy_of_a_normal(name: str, dims: int) -> None:
    assert abs(entropy(normal(1000, dims), RULES[name]) - normal_entropy(dims)) < 0.12


@pytest.mark.parametrize("name", RULES)
def test_entropy_of_a_uniform(name: str) -> None:
    assert abs(entropy(5 * uniform(1000, 1), RULES[name]) - math.log(5)) < 0.1


def test_weights_take_the_bias_of_far_neighbours_away_in_eight_dimensions() -> None:
    plain, weighted = (
        sum(entropy(x, partial(rule, k=20)) for x in normal(10, 500, 8)) / 10 - normal_entropy(8)
        for rule in (kl_terms, weighted_terms)
    )
    assert plain > 0.2
    assert abs(weighted) < 0.15


def ball_log_volume(dims: int) -> float:
    return math.log(math.pi ** (dims / 2) / math.gamma(dims / 2 + 1))


def psi(number: int) -> float:
    return -0.5772156649015329 + sum(1 / j for j in range(1, number))


def slow_neighbour_entropy(x: Tensor, weights: dict[int, float]) -> float:
    """The formula of `neighbour_weights`, by loops."""
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
    assert entropy(x, partial(kl_terms, k=k), rescale=False) == pytest.approx(
        slow_neighbour_entropy(x, {k: 1.0}), abs=1e-9
    )


def test_weighted_entropy_equals_its_slow_twin() -> None:
    x = normal(60, 6)
    weights = {m * 20 // 6: float(neighbour_weights(6, 20)[m * 20 // 6 - 1]) for m in range(1, 7)}
    assert entropy(x, RULES["weighted"], rescale=False) == pytest.approx(slow_neighbour_entropy(x, weights), abs=1e-9)


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


def test_weights_in_few_dimensions_use_the_first_neighbour_and_warn_once(
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
    assert torch.equal(weighted_terms(x, 20), weighted_terms(x, 1))


def test_too_few_neighbours_for_the_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="k=7 in 8 dimensions"):
        weighted_terms(normal(50, 8), 7)


@pytest.mark.parametrize("name", RULES)
def test_a_linear_map_adds_its_log_determinant(name: str) -> None:
    x, matrix, rule = normal(300, 3), normal(3, 3, seed=5), RULES[name]
    plain = entropy(x, rule)
    assert entropy(x @ matrix + 4, rule) == pytest.approx(plain + float(torch.linalg.slogdet(matrix)[1]), abs=1e-8)
    for scale in (1e-12, 1e-6, 1e6, 1e12):
        assert entropy(x * scale, rule) == pytest.approx(plain + 3 * math.log(scale), abs=1e-8)


@pytest.mark.parametrize("name", RULES)
def test_duplicate_rows_count_once(name: str) -> None:
    x = normal(100, 2)
    once, twice = (entropy_of(rows, RULES[name], True) for rows in (x, torch.cat([x, x[:30]])))
    assert once.value == twice.value
    assert torch.equal(torch.cat([once.terms, once.terms[:30]]), twice.terms)


@pytest.mark.parametrize("name", RULES)
def test_an_outlier_leaves_entropies_finite(name: str) -> None:
    x = normal(100, 2)
    x[3] = 1e12
    assert math.isfinite(entropy(x, RULES[name]))


@pytest.mark.parametrize("name", RULES)
def test_too_few_rows_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must have at least"):
        entropy(normal(3, 2), RULES[name])


def test_distances_that_vanish_in_float64_are_refused() -> None:
    with pytest.raises(ValueError, match="at distance 0 in float64"):
        kl_terms(normal(50, 2) * 1e-200, 3)
