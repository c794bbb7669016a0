"""Nearest neighbours, degenerate samples and the shared functions of the estimators."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn import neighbors
from torch import Tensor

from grokplane.mi import KSG, Estimate, counts, distances, half_check, nearest
from grokplane.mi.base import labels, mean_of, over_batch, samples
from grokplane.mi.degenerate import distinct, independent, varying, whiten
from grokplane.mi.memory import Memory
from grokplane.mi.neighbours import Backend, Metric, gaps

METRICS: list[Metric] = ["euclidean", "chebyshev"]
BACKENDS: list[Backend] = ["tree", "brute"]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tied(count: int = 80) -> Tensor:
    """Points of a small grid, with many equal distances and 30% duplicates."""
    return torch.randint(0, 5, (count, 3), generator=torch.Generator().manual_seed(1)).double()


def gap(a: Tensor, b: Tensor, metric: Metric) -> float:
    steps = [abs(float(p) - float(q)) for p, q in zip(a, b, strict=True)]
    return max(steps) if metric == "chebyshev" else math.sqrt(sum(step * step for step in steps))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("points", [normal(60, 3), tied(), normal(60, 2) * 1e-6, normal(60, 2) * 1e6 + 1e6])
def test_distances_and_counts_equal_plain_loops(metric: Metric, backend: Backend, points: Tensor) -> None:
    rows = range(len(points))
    table = [sorted(gap(points[i], points[j], metric) for j in rows if j != i) for i in rows]
    expected = torch.tensor(table, dtype=torch.float64)[:, :4]
    torch.testing.assert_close(distances(points, 4, metric, backend), expected, rtol=1e-12, atol=0)
    for strict in (True, False):
        found = counts(points, expected[:, 3], metric, strict=strict, backend=backend)
        loose = 1 - 1e-11 if strict else 1 + 1e-11
        wanted = [
            sum(d <= r * loose for d in line) if r > 0 or not strict else 0
            for line, r in zip(table, expected[:, 3].tolist(), strict=True)
        ]
        assert found.tolist() == wanted


@pytest.mark.parametrize("metric", METRICS)
def test_tree_and_brute_force_give_the_same_neighbours_in_batches(metric: Metric) -> None:
    points = normal(2, 3, 150, 4)
    tree, brute = (nearest(points, 5, metric, backend) for backend in BACKENDS)
    torch.testing.assert_close(tree[0], brute[0], rtol=1e-12, atol=0)
    assert torch.equal(tree[1], brute[1])
    assert torch.equal(tree[0][1, 2], distances(points[1, 2], 5, metric))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_point_is_never_its_own_neighbour(backend: Backend) -> None:
    points = torch.cat([normal(5, 2), normal(5, 2), normal(1, 2).expand(7, 2)])
    distance, index = nearest(points, 4, "euclidean", backend)
    assert not bool((index == torch.arange(17)[:, None]).any())
    assert (distance[:10, 0] == 0).all()
    assert (distance[10:] == 0).all()


@pytest.mark.parametrize("metric", METRICS)
def test_small_distances_far_from_the_origin_are_exact(metric: Metric) -> None:
    points = torch.tensor([[0.0], [1e-3], [3e-3]], dtype=torch.float64) * 2.0**-10 + 4096.0
    exact = points[1] - points[0]
    for backend in BACKENDS:
        assert distances(points, 1, metric, backend)[0] == exact


def test_chunks_of_the_brute_force_join_without_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    points = normal(1, 50, 3)
    whole = torch.cat([part for _, part in gaps(points)], 1)
    monkeypatch.setattr("grokplane.mi.neighbours.CPU_BYTES", 4 * 8 * 50 * 7)
    parts = list(gaps(points))
    assert [start for start, _ in parts] == [0, 7, 14, 21, 28, 35, 42, 49]
    assert torch.equal(torch.cat([part for _, part in parts], 1), whole)


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="a search for 3 neighbours has 3 samples: must have at least 4"):
        distances(normal(3, 2), 3)


def test_distinct_rows_keep_their_order_and_say_where_each_row_went() -> None:
    x = torch.tensor([[2.0, 0.0], [1.0, 5.0], [2.0, -0.0], [1.0, 4.0], [1.0, 5.0]])
    rows, which = distinct(x)
    assert rows.tolist() == [[2, 0], [1, 5], [1, 4]]
    assert which.tolist() == [0, 1, 0, 2, 1]
    assert torch.equal(rows[which], x)


def test_constant_and_dependent_columns_are_left_out() -> None:
    x = normal(100, 3)
    more = torch.cat([x, x[:, :1] * 0 + 0.1, 3 * x[:, :1] - 7, x[:, 1:2] + x[:, 2:3]], 1)
    assert varying(more).shape == (100, 5)
    assert independent(more).shape == (100, 3)
    assert independent((more * 1e9).float().double()).shape == (100, 3)
    assert torch.equal(independent(x * 1e-12), x * 1e-12)


def test_an_outlier_does_not_look_like_a_dependence() -> None:
    x = normal(100, 3)
    x[7] = 1e12
    assert independent(x).shape == (100, 3)
    nearly = torch.cat([x, x[:, :1] + 1e-4 * normal(100, 1, seed=3)], 1)
    assert independent(nearly).shape == (100, 4)


def test_whitening_gives_unit_covariance_and_half_the_log_determinant() -> None:
    x = normal(200, 3) @ normal(3, 3, seed=2) * torch.tensor([1e-12, 1.0, 1e12], dtype=torch.float64)
    shaped, log_det = whiten(x)
    torch.testing.assert_close(shaped.T.cov(), torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-10)
    unit = x / torch.tensor([1e-12, 1.0, 1e12], dtype=torch.float64)
    torch.testing.assert_close(log_det, unit.T.cov().logdet() / 2, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(5), r"shape \[5\]: must be"),
        (torch.zeros(1, 2), "x has 1 samples: must have at least 2"),
        (torch.zeros(5, 0), "no columns"),
        (torch.tensor([[0.0], [math.nan]]), "NaN or infinity"),
        (torch.tensor([[0.0], [math.inf]]), "NaN or infinity"),
        (torch.tensor([[0.0], [1e101]], dtype=torch.float64), "beyond 1e"),
        (torch.zeros(5, 1, dtype=torch.complex64), "complex"),
    ],
)
def test_samples_that_cannot_be_used_are_refused(x: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        samples(x)


def test_labels_must_be_integers() -> None:
    assert labels(torch.tensor([True, False])).tolist() == [1, 0]
    with pytest.raises(ValueError, match="must be integer labels"):
        labels(torch.zeros(5))
    with pytest.raises(ValueError, match="y has 1 samples"):
        labels(torch.tensor([3]))


def test_leading_axes_broadcast_and_are_kept() -> None:
    x, y = normal(3, 1, 10, 2), torch.arange(20).view(2, 10)
    result = over_batch(lambda a, b: Estimate(a.sum() * b.sum(), a.sum()), x, y, events=(2, 1))
    torch.testing.assert_close(result.value, x.sum((2, 3)) * y.sum(1))
    assert result.std_error.shape == (3, 2)
    assert over_batch(lambda a: mean_of(a[:, 0]), x[:0]).value.shape == (0, 1)
    with pytest.raises(ValueError, match="x has 10 samples, y has 9"):
        over_batch(lambda a, _: mean_of(a[:, 0]), x, y[:, :9], events=(2, 1))
    with pytest.raises(ValueError, match="do not broadcast"):
        over_batch(lambda a, _: mean_of(a[:, 0]), normal(2, 10, 2), normal(3, 10, 2))


def test_a_mean_has_the_error_of_a_mean() -> None:
    terms = normal(400)
    value, error = mean_of(terms)
    assert value == terms.mean()
    torch.testing.assert_close(error, terms.std() / 20)


def test_the_half_check_tells_enough_samples_from_too_few() -> None:
    x = normal(4, 600, 1)
    y = 0.6 * x + 0.8 * normal(4, 600, 1, seed=1)
    enough = half_check(KSG(), x, y)
    assert enough.consistent.all()
    assert torch.equal(enough.drift, enough.full.value - enough.half.value)
    assert torch.equal(enough.full.value, KSG()(x, y).value)
    few = half_check(KSG(), x[:, :200], x[:, :200] + 1e-4 * y[:, :200])
    assert not few.consistent.any()


def test_the_half_check_splits_labels_along_their_own_axis() -> None:
    values, sizes = normal(40, 2), []

    def paired(x: Tensor, y: Tensor) -> Estimate:
        assert torch.equal(x, values[y])
        sizes.append(len(y))
        return mean_of(x[:, 0])

    half_check(paired, values, torch.arange(40))
    assert sizes == [40, 20, 20]


def test_the_tree_of_a_sample_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counted(neighbors.KDTree):  # type: ignore[misc]
        def __init__(self, *arguments: object, **keys: object) -> None:
            made.append(keys["metric"])
            super().__init__(*arguments, **keys)

    monkeypatch.setattr(neighbors, "KDTree", Counted)
    x, radius = normal(300, 3, seed=77), torch.full((300,), 0.5, dtype=torch.float64)
    first, same = counts(x, radius, again=True), x.clone()
    more = [counts(x.clone(), radius, again=True), counts(x.clone(), 2 * radius, again=True)]
    assert made == ["chebyshev"]
    assert torch.equal(first, more[0])
    assert torch.equal(more[1], counts(x, 2 * radius, backend="brute"))
    x.uniform_()  # the cached result must not change with x
    assert torch.equal(counts(same, radius, again=True), first)
    assert made == ["chebyshev"]
    counts(same, radius)
    assert made == ["chebyshev"] * 2


def test_a_memory_computes_once_for_the_same_numbers_and_settings() -> None:
    memory: Memory[int] = Memory(2)
    x, calls = normal(5, 2), []

    def ask(value: Tensor, settings: str) -> int:
        return memory.recall(value, settings, lambda: calls.append(settings) or len(calls))

    assert [ask(x, "a"), ask(x.clone(), "a"), ask(x, "b"), ask(x + 1, "a"), ask(x, "a")] == [1, 1, 2, 3, 4]
    assert ask(x.view(2, 5), "a") == 5
