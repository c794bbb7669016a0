"""The functions over all pairs of a sample, against slow twins: both bounds in one pass, Ross for several labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import digamma
from torch import Tensor

from grokplane.mi import KDE, Ross, bracket, classes, pair_sums, pairs, ross_all, ross_pairs
from grokplane.mi.pair_sums import densities, merged
from grokplane.mi.ross import shared, tree_terms
from grokplane.mi.ross_pairs import pair_terms

SCALES = [1e-12, 1.0, 1e12]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def drawn(count: int, of: int, seed: int = 1) -> Tensor:
    return torch.randint(of, (count,), generator=torch.Generator().manual_seed(seed))


def clusters(count: int, dims: int, spread: float) -> Tensor:
    return normal(12, dims, seed=5)[drawn(count, 12)] + spread * normal(count, dims, seed=6)


def assert_bounds_of_kde(x: Tensor, variance: float) -> None:
    found = bracket(x, variance)
    assert found.lower.item() == pytest.approx(KDE(variance)(x).value.item(), abs=1e-9)
    assert found.upper.item() == pytest.approx(KDE(variance, "upper")(x).value.item(), abs=1e-9)
    assert 0 <= found.lower.item() <= found.upper.item() <= math.log(len(x))


def ross_in_numpy(x: Tensor, y: Tensor, k: int) -> tuple[float, float]:
    """Ross 2014 from the whole matrix of distances, by differences, row by row."""
    labels, counts = np.unique(y.numpy(), return_counts=True)
    kept = np.isin(y.numpy(), labels[counts > 1])
    points, label = x.numpy()[kept], y.numpy()[kept]
    terms = []
    for row in range(len(points)):
        gap = np.sqrt(((points - points[row]) ** 2).sum(1))
        same = label == label[row]
        own = np.sort(np.delete(gap, row)[np.delete(same, row)])
        reach = own[min(k, len(own)) - 1] * (1 + 1e-12)
        terms.append(digamma((own <= reach).sum()) - digamma(same.sum()) - digamma((gap <= reach).sum() - 1))
    return float(digamma(len(points)) + np.mean(terms)), float(np.std(terms, ddof=1) / len(terms) ** 0.5)


def assert_ross(x: Tensor, labels: list[Tensor], k: int = 3) -> None:
    """From pairs, whichever path `Ross` would choose, and as it chooses."""
    for terms, found, y in zip(
        pair_terms(x, [classes(y) for y in labels], k), ross_all(x, labels, k), labels, strict=True
    ):
        value, error = ross_in_numpy(x, y, k)
        assert terms.mean().item() == pytest.approx(value, abs=1e-12)
        assert found.value.item() == pytest.approx(value, abs=1e-12)
        assert found.std_error.item() == pytest.approx(error, abs=1e-12)
        assert Ross(k)(x, y).value.item() == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("dims", [1, 32, 53])
@pytest.mark.parametrize("sigma", [1e-6, 1e-2, 0.1, 1.0, 10.0])
def test_the_bracket_is_both_bounds_of_kde(dims: int, sigma: float) -> None:
    """Few, some and most pairs weigh; products are exact enough, or the pairs are measured again."""
    assert_bounds_of_kde(normal(300, dims), sigma**2)
    assert_bounds_of_kde(clusters(300, dims, 0.02), sigma**2)


def test_the_bracket_over_many_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "ROWS", 8)
    monkeypatch.setattr(pairs, "COLUMNS", 24)
    monkeypatch.setattr(pair_sums, "TOGETHER", 500)
    for share in (0.0, 1.0):  # all pairs of a tile, and only those that weigh
        monkeypatch.setattr(pair_sums, "SPARSE", share)
        for count in (2, 7, 8, 9, 63, 64, 100):
            assert_bounds_of_kde(clusters(count, 5, 0.1), 0.05)


@pytest.mark.parametrize("scale", SCALES)
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
    """Where products of rows would destroy small distances."""
    exact = (normal(200, 4) * 64).round() / 64
    near, far = bracket(exact, 0.01), bracket(exact + 2.0**30, 0.01)
    assert far.lower.item() == pytest.approx(near.lower.item(), abs=1e-9)
    for size in (1e5, 1e8, 1e12):
        exact[3] = size
        assert_bounds_of_kde(exact, 0.01)


def test_the_bracket_where_many_pairs_weigh_and_products_are_not_exact_enough() -> None:
    x = normal(200, 4)
    x[:100] += 1e6
    assert_bounds_of_kde(x, 1.0)


def test_rows_about_a_distant_mean_need_no_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those are slow: they stay for rows whose distances are small beside their spread."""
    x, y = normal(100, 32) + 1e3, drawn(100, 5)
    bounds, value = KDE(0.3)(x).value.item(), ross_in_numpy(x, y, 3)[0]

    def refuse(*_: Tensor) -> Tensor:
        raise AssertionError("measured by differences")

    monkeypatch.setattr(pair_sums, "squared_gaps", refuse)
    monkeypatch.setattr(ross_pairs, "squared_gaps", refuse)
    assert bracket(x, 0.3).lower.item() == pytest.approx(bounds, abs=1e-9)
    assert ross_all(x, [y])[0].value.item() == pytest.approx(value, abs=1e-12)


def test_repeated_rows_count_as_often_as_they_stand() -> None:
    x = normal(120, 6)
    x[60:] = x[torch.randperm(60, generator=torch.Generator().manual_seed(3))]
    x[5], x[6] = 0.0, -0.0
    rows, weight = merged(x)
    distinct, times = torch.unique(x + 0.0, dim=0, return_counts=True)
    assert len(rows) == len(distinct) == 61
    assert sorted(weight.tolist()) == sorted(times.tolist())
    assert_bounds_of_kde(x, 0.3)


def test_densities_against_the_whole_matrix() -> None:
    x, weight = normal(90, 5), drawn(90, 4).double() + 1
    gap = (x[:, None] - x).square().sum(-1) * 0.7
    expected = torch.stack([torch.exp(-gap) @ weight, torch.exp(-4 * gap) @ weight])
    torch.testing.assert_close(densities(x, weight, 0.7), expected, rtol=1e-12, atol=0)


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


@pytest.mark.parametrize("dims", [1, 4, 53])
@pytest.mark.parametrize("k", [1, 3, 60])
def test_ross_for_several_labels_against_numpy(dims: int, k: int) -> None:
    """Classes of one (200 labels for 230 rows), of fewer than k, and all in one class."""
    assert_ross(normal(230, dims), [drawn(230, of) for of in (1, 2, 10, 40, 200)], k)


def test_ross_over_many_tiles_and_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BATCH": 300, "FEW": 50, "SORTED": 6}.items():
        monkeypatch.setattr(ross_pairs, name, value)
    monkeypatch.setattr(ross_pairs, "_KNOWN", ross_pairs.Memory(4))
    monkeypatch.setattr(pairs, "ROWS", 8)
    monkeypatch.setattr(pairs, "COLUMNS", 24)
    for count in (15, 16, 17, 63, 64, 100):
        assert_ross(clusters(count, 5, 0.3), [drawn(count, of) for of in (1, 3, 9)])


def test_ross_with_duplicates_and_ties() -> None:
    """Within a class and across classes, more of them than k; a grid; equal rows; one-hot labels."""
    labels = [drawn(180, of) for of in (2, 12, 60)]
    x = normal(180, 9)
    x[60:] = x[:60].repeat(2, 1)
    assert_ross(x, labels)
    x[90:] = x[0]
    assert_ross(x, labels)
    grid = (normal(180, 3) * 2).round()
    assert_ross(grid, labels)
    assert_ross(grid + 100.0 * drawn(180, 3, seed=4)[:, None], labels)
    assert_ross(torch.full((180, 5), 0.1, dtype=torch.float64), labels)
    assert_ross(torch.nn.functional.one_hot(labels[1]).double(), labels)


@pytest.mark.parametrize("scale", SCALES)
def test_ross_at_any_scale_and_where_products_of_rows_fail(scale: float) -> None:
    labels = [drawn(150, of) for of in (2, 9)]
    assert_ross(normal(150, 20) * scale, labels)
    assert_ross(clusters(150, 20, 1e-9) * scale, labels)
    assert_ross((normal(150, 20) * 64).round() * scale + 2.0**30 * scale, labels)


def test_ross_beside_an_outlier() -> None:
    """Of the outlier itself all distances are equal but for round-off; those of the others are kept."""
    x, labels = normal(300, 12), [drawn(300, 5)]
    x[7] = 1e12
    terms = pair_terms(x, [classes(labels[0])], 3)[0]
    expected = tree_terms(*shared(x, labels[0]), 3)
    others = torch.arange(300) != 7
    torch.testing.assert_close(terms[others], expected[others], rtol=0, atol=1e-12)


def test_classes_are_sorted_once_and_accepted() -> None:
    x, y = normal(80, 12), drawn(80, 6)
    y[3] = -77
    made = classes(y)
    assert classes(y.clone()) is made
    assert made.alone.tolist() == [3]
    assert ross_all(x, [made, y.int()]) == [Ross()(x, y)] * 2


def test_ross_one_by_one_where_trees_are_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = normal(90, 2), [drawn(90, of) for of in (3, 50)]
    together = ross_all(x, labels)
    monkeypatch.setattr("grokplane.mi.ross._by_pairs", lambda _: False)
    for found, one in zip(ross_all(x, labels), together, strict=True):
        assert found.value.item() == pytest.approx(one.value.item(), abs=1e-12)


def test_refusals_of_ross_for_several_labels() -> None:
    x = normal(10, 3)
    with pytest.raises(ValueError, match="must be pairs"):
        ross_all(x, [drawn(9, 2)])
    with pytest.raises(ValueError, match="must be pairs"):
        ross_all(normal(2, 10, 3), [drawn(10, 2)])
    with pytest.raises(ValueError, match="classes of more than one"):
        ross_all(x, [torch.arange(10)])
    with pytest.raises(ValueError, match="k=0"):
        ross_all(x, [drawn(10, 2)], k=0)
    with pytest.raises(ValueError, match="integer labels"):
        ross_all(x, [normal(10)])
