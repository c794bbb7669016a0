"""Ranks, class geometry, probes, parallelograms and clock or pizza as functions of tensors, against slow twins."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from grokplane.data import Group, Modular, RandomSplit
from grokplane.mechanism import class_geometry as classes
from grokplane.mechanism import clock, dimension
from grokplane.mechanism.cayley import quotients
from grokplane.mechanism.centring import centred
from grokplane.mechanism.operands import rows_of_pairs
from grokplane.mechanism.parallelograms import parallelograms, quality
from grokplane.mechanism.probe import Probe, ridge_probe
from grokplane.metrics.elements import of_groups, of_operands
from grokplane.metrics.padded import stacked
from grokplane.operand_group import OperandGroup


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def near(found: Tensor, wanted: list[float], tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=tolerance, atol=tolerance)


def entropy(weights: list[float]) -> float:
    shares = [weight / math.fsum(weights) for weight in weights]
    return -math.fsum(share * math.log(share) for share in shares if share)


SLOW: dict[str, Callable[[list[float]], float]] = {
    "effective_rank": lambda s: math.exp(entropy(s)),
    "stable_rank": lambda s: math.fsum(x * x for x in s) / max(s) ** 2,
    "participation_ratio": lambda s: math.fsum(x**2 for x in s) ** 2 / math.fsum(x**4 for x in s),
    "spectral_entropy": lambda s: entropy([x * x for x in s]),
    "spectral_norm": max,
}


def measured(matrices: Tensor) -> dict[str, Tensor]:
    squares = dimension.squared_singular_values(matrices)
    return {name: function(squares) for name, function in dimension.MEASURES.items()}


@pytest.mark.parametrize("shape", [(3, 5, 9), (3, 9, 5), (2, 1, 4)])
def test_measures_of_spectra_are_those_of_singular_values(shape: tuple[int, int, int]) -> None:
    matrices = draw(*shape)
    found = measured(matrices)
    for name, slow in SLOW.items():
        near(found[name], [slow(np.linalg.svd(one.numpy(), compute_uv=False).tolist()) for one in matrices])


def orthogonal(n: int, seed: int) -> Tensor:
    return torch.linalg.qr(draw(n, n, seed=seed))[0]


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_a_projection_of_rank_r_has_all_ranks_r(rank: int) -> None:
    projection = orthogonal(6, 0)[:, :rank] @ orthogonal(8, 1)[:rank]
    found = measured(0.3 * projection[None].float())
    for name in ("effective_rank", "stable_rank", "participation_ratio"):
        near(found[name], [rank], 1e-5)
    near(found["spectral_entropy"], [math.log(rank)], 1e-5)
    near(found["spectral_norm"], [0.3], 1e-6)


def test_measures_of_dimension_are_ordered_and_invariant_under_rotation_and_scale() -> None:
    matrices = draw(20, 7, 5) @ torch.diag(torch.tensor([9.0, 3, 1, 0.1, 0.01], dtype=torch.float64))
    found = measured(matrices)
    effective, stable, participation = (found[f"{n}"] for n in ("effective_rank", "stable_rank", "participation_ratio"))
    ordered = [torch.ones(20), stable, participation, found["spectral_entropy"].exp(), effective, torch.full((20,), 5)]
    assert all(bool((lower < upper).all()) for lower, upper in itertools.pairwise(ordered))
    turned = measured(1e-3 * orthogonal(7, 2) @ matrices @ orthogonal(5, 3))
    for name, value in found.items():
        torch.testing.assert_close(turned[name], value * (1e-3 if name == "spectral_norm" else 1), rtol=1e-8, atol=0)


def test_matrices_that_have_no_dimension_give_nan_and_leave_others_alone() -> None:
    matrices = draw(3, 4, 6)
    matrices[1], matrices[2, 0, 0] = 0, math.nan
    for name, value in measured(matrices).items():
        assert value[0] == measured(matrices[:1])[name][0]
        assert value[2].isnan()
        assert value[1] == 0 if name == "spectral_norm" else value[1].isnan()


def test_features_are_centred_over_points_that_are_not_padding() -> None:
    values, mask = draw(2, 6, 3), torch.arange(6) < torch.tensor([[6], [4]])
    values[1, 4:] = math.nan
    found, mean = centred(values, mask)
    assert not found[1, 4:].any()
    for member, n in enumerate((6, 4)):
        wanted = values[member, :n].numpy() - values[member, :n].numpy().mean(0)
        np.testing.assert_allclose(found[member, :n].numpy(), wanted, rtol=0, atol=1e-12)
        np.testing.assert_allclose(mean[member, 0], values[member, :n].mean(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_that_are_equal_up_to_round_off_have_no_differences(dtype: torch.dtype) -> None:
    eps, mask = torch.finfo(dtype).eps, torch.ones(2, 50, dtype=torch.bool)
    equal = (3 * draw(1, 1, 7).expand(2, 50, 7)).to(dtype)
    relative = torch.tensor([2 * eps, 100 * eps], dtype=dtype)[:, None, None] * draw(2, 50, 7).sign().to(dtype)
    values = equal * (1 + relative)
    found, _ = centred(values, mask)
    assert not found[0].any()
    assert (found[1] != 0).all()


def simplex(count: int, size: int) -> Tensor:
    """`count` points at equal angles, in `size` dimensions."""
    return (torch.eye(count, dtype=torch.float64) - 1 / count) @ orthogonal(size, 4)[:count]


def test_a_simplex_has_equal_norms_and_angles_wherever_it_lies() -> None:
    means = torch.stack([5 * simplex(4, 6), simplex(4, 6), simplex(4, 6)]) + 3
    means[2, 3] += 1
    present = torch.ones(3, 4, dtype=torch.bool)
    centred = classes.from_their_centre(means, present)
    spread, off = classes.angles(centred, present)
    variation = classes.norm_variation(centred, present)
    near(torch.stack([spread[:2], off[:2], variation[:2]]).flatten(), [0] * 6, 1e-7)
    assert spread[2] > 0.1
    assert off[2] > 0.1
    assert variation[2] > 0.1
    near(classes.mean_distance(means, present)[:2], [5 * math.sqrt(2), math.sqrt(2)])


@pytest.mark.parametrize("pairs", [1, 11, 10**6])
def test_class_geometry_is_that_of_loops_over_present_classes(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "PAIRS", pairs)
    means = draw(3, 5, 4)
    present = torch.tensor([[True] * 5, [True, False, True, True, False], [False] * 4 + [True]])
    means[1, 1] = math.nan
    centred = classes.from_their_centre(means, present)
    spread, off = classes.angles(centred, present)
    found = torch.stack([classes.mean_distance(means, present), classes.norm_variation(centred, present), spread, off])
    for member in range(2):
        own = means[member][present[member]].numpy()
        middle, count = own.mean(0), len(own)
        between = [(own[y] - middle, own[z] - middle) for y in range(count) for z in range(count) if y != z]
        cosines = [x @ y / math.sqrt(x @ x) / math.sqrt(y @ y) for x, y in between]
        norms = [math.sqrt((one - middle) @ (one - middle)) for one in own]
        wanted = [np.mean([math.dist(x, y) for x, y in between]), np.std(norms) / np.mean(norms), np.std(cosines)]
        near(found[:, member], [*map(float, wanted), float(np.mean([abs(c + 1 / (count - 1)) for c in cosines]))])
    assert found[[0, 2, 3], 2].isnan().all()  # a single class has no pairs


@pytest.mark.parametrize(("points", "units"), [((9, 6), 4), ((5, 4), 7)])
def test_a_probe_solves_the_penalised_least_squares(points: tuple[int, int], units: int) -> None:
    n, ridge, count = max(points), 0.02, 3
    values, mask = draw(2, n, units) + 2, torch.arange(n) < torch.tensor(points)[:, None]
    values[~mask] = math.nan
    labels = torch.arange(2 * n).view(2, n) % count
    probe = ridge_probe(values, labels, mask, count, ridge)
    for member, size in enumerate(points):
        x, y = values[member, :size].numpy(), np.eye(count)[labels[member, :size].numpy()]
        strength = ridge * ((x - x.mean(0)) ** 2).sum() / units
        left = np.block([[x, np.ones((size, 1))], [math.sqrt(strength) * np.eye(units), np.zeros((units, 1))]])
        solution = np.linalg.lstsq(left, np.vstack([y, np.zeros((units, count))]), rcond=None)[0]
        np.testing.assert_allclose(probe.coefficients[member], solution[:-1], rtol=1e-8, atol=1e-10)
        scores = x @ solution[:-1] + solution[-1]
        assert probe.classes(values)[member, :size].tolist() == scores.argmax(1).tolist()


def test_a_probe_of_equal_points_answers_with_the_most_frequent_class() -> None:
    labels = torch.tensor([[2, 1, 2, 0, 1]])
    mask, equal = torch.ones(1, 5, dtype=torch.bool), draw(1, 1, 3).expand(1, 5, 3)
    probe = ridge_probe(equal, labels, mask, 3, 1e-3)
    assert probe.classes(equal + draw(1, 5, 3)).tolist() == [[1] * 5]  # the first of equally large ones


def test_of_scores_that_differ_by_round_off_a_probe_takes_the_first() -> None:
    coefficients = torch.tensor([[[0.1, 0.3, 0.3 + 1e-13, 0.3 + 1e-8]]], dtype=torch.float64)
    for count, wanted in ((3, 1), (4, 3)):
        probe = Probe(torch.zeros(1, 1, 1), coefficients[..., :count], torch.zeros(1, 1, count))
        assert probe.classes(torch.ones(1, 2, 1)).tolist() == [[wanted] * 2]


def digits(element: int, orders: tuple[int, ...]) -> tuple[int, ...]:
    found = []
    for order in reversed(orders):
        element, digit = divmod(element, order)
        found.append(digit)
    return tuple(found)


def relations(orders: tuple[int, ...], wrapped: bool) -> set[frozenset[tuple[int, int]]]:
    """All unordered pairs of unordered pairs with equal sums, by loops."""

    def total(pair: tuple[int, int]) -> tuple[int, ...]:
        both = zip(digits(pair[0], orders), digits(pair[1], orders), reversed(orders), strict=True)
        return tuple((x + y) % order if wrapped else x + y for x, y, order in both)

    pairs = list(itertools.combinations_with_replacement(range(math.prod(orders)), 2))
    return {frozenset((p, q)) for p, q in itertools.combinations(pairs, 2) if total(p) == total(q)}


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("orders", [(5,), (6,), (2, 4), (3, 2, 2)])
def test_parallelograms_are_all_relations_once(orders: tuple[int, ...], wrapped: bool) -> None:
    found = [frozenset(((i, j), (m, n))) for i, j, m, n in parallelograms(orders, wrapped, 10**6, 0).tolist()]
    assert len(set(found)) == len(found)
    assert set(found) == relations(orders, wrapped)


def test_the_quality_of_embeddings_is_that_of_loops() -> None:
    values, corners = draw(2, 7, 2), parallelograms((7,), True, 10**6, 0)
    for tolerance in (0.01, 0.8, 100.0):
        wanted = []
        for one in values.numpy():
            spread = math.sqrt(np.mean([x @ x for x in one - one.mean(0)]))
            sums = [one[i] + one[j] - one[m] - one[n] for i, j, m, n in corners.tolist()]
            wanted.append(float(np.mean([math.sqrt(x @ x) <= tolerance * spread for x in sums])))
        near(quality(values, corners, tolerance), wanted)
        assert 0 < wanted[0] < 1 or tolerance != 0.8


def test_a_line_has_every_parallelogram_of_integers_and_of_the_group_those_without_a_carry() -> None:
    line = 3 * torch.arange(13)[None, :, None] * draw(1, 1, 5) + 100
    noise = draw(1, 13, 5)
    integers, group = (parallelograms((13,), wrapped, 10**6, 0) for wrapped in (False, True))
    near(quality(line, integers, 0.01), [1])
    near(quality(line, group, 0.01), [len(relations((13,), False)) / len(relations((13,), True))])
    near(quality(noise, integers, 0.01), [0])
    assert quality(draw(1, 1, 5).expand(1, 13, 5), integers, 0.01).isnan().all()


def test_a_circle_has_no_parallelogram_of_the_group() -> None:
    angles = 2 * math.pi * 3 / 13 * torch.arange(13, dtype=torch.float64)
    circle = torch.stack([angles.cos(), angles.sin()], 1)[None]
    near(quality(circle, parallelograms((13,), True, 10**6, 0), 0.01), [0])


def test_drawn_parallelograms_have_the_share_of_all() -> None:
    line = torch.arange(31.0)[None, :, None]
    every, some, again, other = (
        parallelograms((31,), True, *how) for how in ((10**6, 0), (2000, 1), (2000, 1), (2000, 2))
    )
    assert torch.equal(some, again)
    assert not torch.equal(some, other)
    assert len(some) == 2000
    assert bool(((some[:, :2].sum(1) - some[:, 2:].sum(1)) % 31 == 0).all())
    share = float(quality(line, every, 0.01))
    assert abs(float(quality(line, some, 0.01)) - share) < 4 * math.sqrt(share * (1 - share) / 2000)


def group_of(task: Modular | Group) -> OperandGroup:
    found = task.table(0).group
    assert found is not None
    return found


def test_quotients_and_tokens_of_elements() -> None:
    split = RandomSplit()
    groups = [group_of(Group(split, group="S3")), group_of(Modular(split, p=7, operation="mul", layout="equals"))]
    eight, cpu = group_of(Modular(split, p=8)), torch.device("cpu")
    found = stacked([quotients(group.products) for group in (*groups, eight)], 0, cpu)
    tokens = of_groups((*groups, eight), cpu).tokens()
    for member, group in enumerate(groups):
        n = group.order
        for a, b in itertools.product(range(n), repeat=2):
            assert group.products[found[member, a, b], b] == a
        assert group.elements[tokens[member, :n]].tolist() == list(range(n))
        assert tokens[member, n:].tolist() == [8] * (8 - n)
    operands = torch.tensor([[[3, 0], [1, 6], [-1, -1]]])
    known = groups[1].elements
    assert of_operands(eight.elements[None], operands).tolist() == [[[3, 0], [1, 6], [-1, -1]]]
    expected = [[[int(known[3]), -1], [int(known[1]), int(known[6])], [-1, -1]]]
    assert of_operands(known[None], operands).tolist() == expected


def test_rows_of_pairs() -> None:
    operands = torch.tensor([[[0, 0], [2, 1], [1, 2]], [[1, 0], [-1, -1], [-1, -1]]])
    found = rows_of_pairs(operands, 3).view(2, 3, 3)
    assert found[0].tolist() == [[0, -1, -1], [-1, -1, 2], [-1, 1, -1]]
    assert found[1].tolist() == [[-1, -1, -1], [0, -1, -1], [-1, -1, -1]]


def test_distance_irrelevance_is_that_of_loops_and_of_known_logits() -> None:
    p = 7
    a, b = torch.cartesian_prod(torch.arange(p), torch.arange(p)).unbind(1)
    of_difference = ((a - b) % p).double().cos()
    of_sum = ((a + b) % p).double().square()
    random = draw(p * p)
    logits = torch.stack([of_difference, of_sum, random])
    known = torch.ones(3, p * p, dtype=torch.bool)
    known[2, ::3] = False
    logits[2, ::3] = math.nan
    found = clock.distance_irrelevance(logits, ((a - b) % p).expand(3, -1), known, p + 2)
    groups = [[float(random[k]) for k in range(p * p) if k % 3 and (a[k] - b[k]) % p == d] for d in range(p)]
    slow = np.mean([np.std(one) for one in groups]) / np.std([x for one in groups for x in one])
    near(found, [0, 1, float(slow)])


@pytest.mark.parametrize(("count", "most"), [(20, 100), (7, 2), (1, 1), (0, 3)])
def test_operands_of_a_round_are_distinct(count: int, most: int) -> None:
    rounds = clock.distinct_pairs(9, count, 11, most, seed=3)
    assert sum(map(len, rounds)) == count
    for one in rounds:
        assert len(one) <= most
        assert len(one[:, :2].unique()) == 2 * len(one)
        assert int(one[:, :2].max()) < 9
        assert int(one[:, 2].max()) < 11
    assert all(map(torch.equal, rounds, clock.distinct_pairs(9, count, 11, most, seed=3)))


def test_cosines_of_vectors() -> None:
    first, second = draw(2, 3, 4), draw(2, 3, 4, seed=1)
    second[0, 1] = 0
    found, defined = clock.cosines(first, second)
    assert defined.tolist() == [[True, False, True], [True] * 3]
    wanted = [float(x @ y) / math.hypot(*x) / math.hypot(*y) for x, y in zip(first[1], second[1], strict=True)]
    near(found[1], wanted)
