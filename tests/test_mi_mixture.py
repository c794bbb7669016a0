"""Exact information of a mixture: against quadrature and a slow reference; standard errors, laws, precision."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from grokplane.mi import bracket, label_entropy, mixture, mixture_sums
from grokplane.mi.mixture import drawn
from grokplane.random import generator

LADDER = (0.1, 0.2, 0.3, 0.5, 0.8)
# Quadrature for a standard normal; 80 nodes integrate the smooth integrands below to 1e-9 at these distances.
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def rows(seed: int, n: int, d: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def on_a_line(places: list[float]) -> Tensor:
    return torch.tensor(places, dtype=torch.float64)[:, None]


def spread(x: Tensor) -> float:
    return float((x - x.mean(0)).square().sum(1).mean()) ** 0.5


def quadrature(places: list[float], classes: list[int], r: float) -> tuple[float, float]:
    """I(X;T) and I(T;Z) of equally likely centres on a line."""
    x, z = np.array(places), np.array(classes)
    s = r * x.std()
    t = x[:, None] + s * NODES
    kernel = np.exp(-((t[:, :, None] - x) ** 2) / (2 * s * s))
    own = np.exp(-((s * NODES) ** 2) / (2 * s * s))
    same = z[:, None] == z
    of_class = (kernel * same[:, None, :]).sum(2) / same.sum(1)[:, None]
    of_input = ((np.log(own) - np.log(kernel.mean(2))) @ WEIGHTS).mean()
    return of_input, ((np.log(of_class) - np.log(kernel.mean(2))) @ WEIGHTS).mean()


PLACES = {
    "two near": ([0.0, 1.0], [0, 1]),
    "four even": ([0.0, 1.0, 2.0, 3.0], [0, 0, 1, 1]),
    "four in pairs": ([0.0, 0.4, 3.0, 3.5], [0, 1, 0, 1]),
    "clusters of copies": ([0.0] * 5 + [1.0] * 5 + [2.5] * 2, [0] * 5 + [1] * 5 + [2] * 2),
    "unequal classes": ([0.0, 0.1, 0.5, 0.9, 2.0, 2.4, 3.3], [0, 0, 0, 0, 1, 1, 2]),
}


def deviations(seeds: range) -> list[float]:
    """(estimate - truth) / standard error of both quantities at three levels.

    Not at finer ones, where a draw that confuses two rows is rarer than one in the draws: there the error says less
    than the truth.
    """
    ladder, found = (0.5, 0.7, 1.0), []
    for seed in seeds:
        for places, classes in PLACES.values():
            got = mixture(on_a_line(places), {"Z": torch.tensor(classes)}, ladder=ladder, draws=200, seed=seed)
            for level, r in enumerate(ladder):
                for estimate, truth in zip((got.input, got.labels["Z"]), quadrature(places, classes, r), strict=True):
                    found.append(float((estimate.value[level] - truth) / estimate.std_error[level]))
    return found


def test_it_is_what_quadrature_gives_and_its_errors_are_calibrated():
    found = np.abs(deviations(range(20)))  # 600 values
    assert len(found) == 600
    assert (found <= 3).mean() >= 0.99
    assert 0.92 <= (found <= 2).mean() <= 0.98


def test_errors_are_calibrated_in_many_dimensions_at_the_shipped_levels():
    """Clusters in 12 dimensions, against 200,000 draws; one level and quantity per call, so 400 calls."""
    classes = torch.arange(60) % 6
    x = rows(0, 60, 12) + 2 * rows(1, 6, 12)[classes]
    found = []
    for r in (0.2, 0.3):
        truth = slow(x, classes, r, seed=7, points=200_000)[0]
        for seed in range(200):
            got = mixture(x, ladder=(r,), draws=60, seed=seed).input
            found.append(abs(float(got.value[0]) - truth) / float(got.std_error[0]))
    assert 0.92 <= (np.array(found) <= 2).mean() <= 0.98
    assert (np.array(found) <= 3).mean() >= 0.99


def test_it_is_unbiased():
    """The mean over seeds is within three of its own standard errors, which are an eighth of those of one call."""
    for places, classes in PLACES.values():
        of_seeds = [
            mixture(on_a_line(places), {"Z": torch.tensor(classes)}, ladder=(0.5,), draws=40, seed=seed)
            for seed in range(64)
        ]
        for pick, truth in zip(("input", "Z"), quadrature(places, classes, 0.5), strict=True):
            values = torch.stack([(one.input if pick == "input" else one.labels["Z"]).value[0] for one in of_seeds])
            assert abs(float(values.mean()) - truth) <= 3 * float(values.std()) / 8 + 1e-9


def slow(x: Tensor, classes: Tensor, r: float, seed: int, points: int = 20_000) -> tuple[float, float, float]:
    """I(X;T), I(T;Z) by plain Monte Carlo, with the standard error of the first."""
    numbers = torch.Generator().manual_seed(seed)
    s = r * spread(x)
    i = torch.randint(len(x), (points,), generator=numbers)
    t = x[i] + s * torch.randn(points, x.shape[1], generator=numbers, dtype=torch.float64)
    logs = -torch.cdist(t, x).square() / (2 * s * s)
    total = logs.logsumexp(1) - math.log(len(x))
    same = classes[i][:, None] == classes
    of_class = logs.masked_fill(~same, -math.inf).logsumexp(1) - same.sum(1).log()
    of_input = logs.gather(1, i[:, None])[:, 0] - total
    return float(of_input.mean()), float((of_class - total).mean()), float(of_input.std()) / points**0.5


@pytest.mark.parametrize("n", [2, 8, 40])
def test_orthogonal_centres(n: int):
    x, classes = torch.eye(n, dtype=torch.float64), torch.arange(n) % 2
    for level, r in enumerate(LADDER):
        of_input, of_labels, error = slow(x, classes, r, seed=level)
        got = mixture(x, {"Z": classes}, ladder=(r,), draws=400, seed=1)
        both = math.hypot(error, float(got.input.std_error[0]))
        assert abs(float(got.input.value[0]) - of_input) <= 3 * both + 1e-6
        assert abs(float(got.labels["Z"].value[0]) - of_labels) <= 3 * both + 1e-6


def test_against_the_slow_twin_in_many_dimensions():
    classes = torch.arange(300) % 7
    x = rows(0, 300, 24) + 2 * rows(1, 7, 24)[classes]
    got = mixture(x, {"Z": classes}, ladder=LADDER, draws=400, seed=2)
    for level, r in enumerate(LADDER):
        of_input, of_labels, error = slow(x, classes, r, seed=3)
        both = math.hypot(error, float(got.input.std_error[level])) + 1e-6
        assert abs(float(got.input.value[level]) - of_input) <= 3 * both
        assert abs(float(got.labels["Z"].value[level]) - of_labels) <= 3 * (
            math.hypot(error, float(got.labels["Z"].std_error[level])) + 1e-6
        )


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "every neuron twice": lambda x: torch.cat([x, x], 1),
    "dead neurons": lambda x: torch.cat([x, torch.full((len(x), 50), 3.0, dtype=x.dtype)], 1),
    "rotated": lambda x: x @ torch.linalg.qr(rows(9, x.shape[1], x.shape[1])).Q,
    "rescaled": lambda x: 1e-6 * x,
    "moved": lambda x: x + 1000,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_copied_dead_rotated_rescaled_neurons_change_nothing(change: Callable[[Tensor], Tensor]):
    x = rows(0, 200, 6)
    before, after = (mixture(one, ladder=LADDER, draws=800, seed=seed).input for seed, one in ((1, x), (2, change(x))))
    error = torch.hypot(before.std_error, after.std_error)
    assert bool(((before.value - after.value).abs() <= 3 * error + 1e-9).all())


def test_the_bracket_holds_it():
    x = rows(0, 500, 16).relu()
    got = mixture(x, ladder=LADDER, draws=400).input
    for level, r in enumerate(LADDER):
        lower, upper = bracket(x, (r * spread(x)) ** 2)
        slack = 3 * float(got.std_error[level]) + 1e-9
        assert float(lower) - slack <= float(got.value[level]) <= float(upper) + slack


LAYERS: dict[str, Callable[[], Tensor]] = {
    "normal": lambda: rows(0, 400, 8),
    "relu": lambda: (rows(1, 400, 64) - 1).relu(),
    "nearly one direction": lambda: torch.cat([rows(2, 400, 1) * 100, rows(3, 400, 5)], 1),
    "an outlier": lambda: torch.cat([rows(4, 399, 8), torch.full((1, 8), 50.0, dtype=torch.float64)]),
    "clusters": lambda: 5 * rows(5, 20, 12)[torch.arange(400) % 20] + 0.1 * rows(6, 400, 12),
    "mirrored": lambda: rows(7, 200, 5).repeat(2, 1),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_the_laws_between_its_values(layer: Callable[[], Tensor]):
    x = layer()
    answers = torch.arange(len(x)) % 13 * (torch.arange(len(x)) % 3 > 0)
    entropy, highest = float(label_entropy(answers).value), math.log(len(x))
    got = mixture(x, {"Y": answers}, ladder=LADDER, draws=200, seed=3)
    of_input, of_answer, beyond = got.input, got.labels["Y"], got.given["Y"]
    error = 3 * (of_input.std_error + of_answer.std_error) + 1e-9
    capacity = 0.5 / torch.tensor(LADDER, dtype=torch.float64).square()
    assert bool((of_answer.value >= -error).all())
    assert bool((of_answer.value <= entropy + 1e-9).all())  # holds for every draw
    assert bool((of_answer.value <= of_input.value + error).all())
    assert bool((of_input.value <= highest + 1e-9).all())
    assert bool((of_input.value <= capacity + error).all())
    assert bool((beyond.value >= -error).all())
    assert bool((of_answer.value >= entropy - (highest - of_input.value) - 1e-9).all())
    torch.testing.assert_close(beyond.value, of_input.value - of_answer.value)
    for of in (of_input, of_answer):
        assert bool((of.value[1:] <= of.value[:-1] + 3 * torch.hypot(of.std_error[1:], of.std_error[:-1]) + 1e-9).all())


def exactly(x: Tensor, classes: Tensor, draws: int, seed: int) -> Callable[[float], tuple[float, float]]:
    """The same draws in plain float64, with distances from differences."""
    of = drawn(len(x), x.shape[1], classes, draws, generator(seed, "mixture"))
    x = x.double()

    def at(r: float) -> tuple[float, float]:
        s, total, own = r * spread(x), 0.0, 0.0
        for row, noise in zip(of.rows.tolist(), of.noise, strict=True):
            for sign in (1, -1):
                gaps = (x[row] + sign * s * noise - x).square().sum(1) - (s * noise).square().sum()
                logs = -gaps / (2 * s * s)
                total += float(logs.logsumexp(0))
                own += float(logs[classes == classes[row]].logsumexp(0))
        draws2 = 2 * len(of.rows)
        entropy = float(label_entropy(classes).value)
        return math.log(len(x)) - total / draws2, entropy + (own - total) / draws2

    return at


@pytest.mark.parametrize(("width", "offset"), [(32, 0.0), (200, 30.0), (512, 0.0), (512, 1e3), (1024, 5.0)])
@pytest.mark.parametrize("clustered", [1.0, 0.1])
def test_float32_exponentials_err_by_less_than_a_millionth(width: int, offset: float, clustered: float):
    """Layers in float32, as networks produce them, against the same draws in float64."""
    classes = torch.arange(300) % 10
    for seed in range(3):
        x = (clustered * rows(seed, 300, width) + rows(10 + seed, 10, width)[classes] + offset).float()
        _is_the_twin(x, classes, LADDER, seed)


def test_small_distances_beside_large_norms_are_kept():
    """Pairs about two standard deviations of the noise apart, a thousandth of the spread, far from the origin."""
    x = torch.cat([rows(0, 50, 3), rows(0, 50, 3) + 2e-3]) + 1e4
    classes = torch.arange(100) % 50
    _is_the_twin(x, classes, (1e-3, 2e-3), 0)
    told = mixture(x, {"Z": classes}, ladder=(1e-3, 0.05), draws=200)
    assert math.log(50) + 0.3 < float(told.input.value[0]) < math.log(100)
    assert float(told.input.value[1]) <= math.log(50) + 1e-3


def _is_the_twin(x: Tensor, classes: Tensor, ladder: tuple[float, ...], seed: int) -> None:
    got = mixture(x, {"Z": classes}, ladder=ladder, draws=20, seed=seed)
    twin = exactly(x, classes, 20, seed)
    for level, r in enumerate(ladder):
        of_input, of_labels = twin(r)
        assert abs(float(got.input.value[level]) - of_input) < 1e-6
        assert abs(float(got.labels["Z"].value[level]) - of_labels) < 1e-6


def test_drawn_rows_may_be_looked_at_in_blocks(monkeypatch: pytest.MonkeyPatch):
    x, classes = rows(0, 90, 5), torch.arange(90) % 4
    whole = mixture(x, {"Z": classes}, ladder=LADDER, draws=30)
    monkeypatch.setitem(mixture_sums.PAIRS, "cpu", 7 * 90)
    parts = mixture(x, {"Z": classes}, ladder=LADDER, draws=30)
    for one, other in ((whole.input, parts.input), (whole.labels["Z"], parts.labels["Z"])):
        torch.testing.assert_close(one.value, other.value, rtol=0, atol=1e-6)
        torch.testing.assert_close(one.std_error, other.std_error, rtol=0, atol=1e-6)


def test_the_same_draws_make_differences_far_more_exact_than_values():
    x = rows(0, 400, 16)
    close = x + 0.02 * rows(1, 400, 16)
    of = [mixture(one, ladder=(0.3,), draws=100, seed=5).input for one in (x, close)]
    others = [mixture(close, ladder=(0.3,), draws=100, seed=seed).input.value for seed in range(10)]
    change = abs(float(of[0].value - of[1].value))
    assert change < float(of[0].std_error) / 2
    assert float(torch.stack(others).std()) > change


def test_every_row_is_drawn_equally_often():
    by = torch.tensor([0] * 5 + [1] * 2)
    counts = sum(
        (torch.bincount(drawn(7, 1, by, 10, generator(seed, "mixture")).rows, minlength=7) for seed in range(2000)),
        torch.zeros(7),
    )
    expected = 2000 * 10 / 7
    assert bool(((counts - expected).abs() < 4 * expected**0.5).all())


def test_a_constant_layer_and_one_row_tell_nothing():
    for x in (torch.full((5, 3), 2.0), torch.ones(1, 3)):
        got = mixture(x, {"Y": torch.zeros(len(x), dtype=torch.int64)}, ladder=LADDER, draws=4)
        for of in (got.input, got.labels["Y"], got.given["Y"]):
            assert of.value.tolist() == [0] * 5
            assert of.std_error.tolist() == [0] * 5


def test_huge_and_tiny_values_are_reckoned_with():
    x = rows(0, 100, 8)
    plain = mixture(x.float(), ladder=LADDER, draws=20).input.value
    for scale, dtype in ((1e-25, torch.float32), (1e25, torch.float32), (1e-200, torch.float64)):
        scaled = mixture((scale * x).to(dtype), ladder=LADDER, draws=20).input.value
        torch.testing.assert_close(scaled, plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ladder": ()}, "ladder"),
        ({"ladder": (0.2, 0.0)}, "ladder"),
        ({"ladder": (math.nan,)}, "ladder"),
        ({"draws": 7}, "draws=7"),
        ({"draws": 2}, "draws=2"),
        ({"labellings": {"Y": torch.zeros(3, dtype=torch.int64)}}, "labels Y"),
    ],
)
def test_what_cannot_be_asked_is_refused(given: dict, message: str):
    with pytest.raises(ValueError, match=message):
        mixture(torch.randn(5, 2, generator=torch.Generator().manual_seed(0)), **given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(dtype: torch.dtype, value: float):
    x = torch.zeros(5, 2, dtype=dtype)
    x[3, 1] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        mixture(x)
