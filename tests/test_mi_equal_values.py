"""Every estimator on rounded values, other scales and discrete sides: accurate, or a warning, or an error."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import pytest
import torch
from test_mi_labels import classes, normal
from torch import Tensor
from torch.nn.functional import one_hot

from grokplane.mi import (
    KDE,
    KSG,
    Binning,
    ClassKL,
    Discrete,
    Estimate,
    InfoNCE,
    JointKL,
    KnownNoise,
    LocalKL,
    Ross,
    Sliced,
    WeightedKL,
    label_entropy,
)

Pair = Callable[[Tensor, Tensor], Estimate]
N = 600
NEAREST: dict[str, Pair] = {
    "ksg1": KSG(),
    "ksg2": KSG(variant=2),
    "weighted": WeightedKL(),
    "weighted raw": WeightedKL(rescale=False),
    "joint": JointKL(shuffles=2),
    "local": LocalKL(),
}
SLICED: dict[str, Pair] = {"sliced": Sliced(projections=4)}
CRITIC: dict[str, Pair] = {"info_nce": InfoNCE(steps=20)}
LABELS: dict[str, Pair] = {
    "ross": Ross(),
    "class_kl": ClassKL(),
    "class_kl weighted": ClassKL(k=20, weighted=True),
    "class_kl infoplane": ClassKL(k=20, weighted=True, rescale=True),
}
BOUNDS: dict[str, Pair] = {
    "kde lower": KDE(0.1),
    "kde upper": KDE(0.1, "upper"),
    "binning": Binning(),
    "binning, corrected": Binning(miller_madow=True),
}
TRUTH = -math.log(1 - 0.8**2) / 2
SCALES = [1e-12, 1e-4, 1e4, 1e12]
every_pair = pytest.mark.parametrize("name", NEAREST | SLICED | CRITIC)
every_nearest = pytest.mark.parametrize("name", NEAREST)
PAIRS = NEAREST | SLICED | CRITIC


def correlated(rho: float, dims: int) -> tuple[Tensor, Tensor]:
    x = normal(N, dims, seed=21)
    return x, rho * x + math.sqrt(1 - rho**2) * normal(N, dims, seed=22)


@pytest.mark.parametrize("decimals", range(7))
@pytest.mark.parametrize("dims", [1, 2])
@every_nearest
def test_rounded_normals_are_what_they_were(name: str, dims: int, decimals: int) -> None:
    """Regression: KSG gave 1.0 and WeightedKL 2.1 nats for independent normals of one decimal, LocalKL 38 for pairs."""
    for rho in (0.0, 0.8):
        x, y = (side.round(decimals=decimals) for side in correlated(rho, dims))
        truth = dims * (TRUTH if rho else 0.0)
        lost = 0.35 * truth if decimals == 0 else 0.0  # whole numbers have less information
        lost += 0.2 * truth if name == "local" else 0.0  # LocalKL is also too low at this n, rounded or not
        assert truth - lost - 0.25 < NEAREST[name](x, y).value.item() < truth + 0.25
        one_side = NEAREST[name](x, correlated(rho, dims)[1]).value.item()
        assert truth - lost - 0.25 < one_side < truth + 0.25


@pytest.mark.parametrize("decimals", range(7))
def test_rounded_slices(decimals: int) -> None:
    x, y = (side.round(decimals=decimals) for side in correlated(0.0, 1))
    assert abs(Sliced(projections=2)(x, y).value.item()) < 0.1


@pytest.mark.parametrize("decimals", range(7))
@pytest.mark.parametrize("name", LABELS)
def test_rounded_vectors_against_labels(name: str, decimals: int) -> None:
    y = classes(N, of=5)
    x = normal(N, 2)
    assert abs(LABELS[name](x.round(decimals=decimals), y).value.item()) < 0.2
    apart = x + 12 * y[:, None]
    smooth = LABELS[name](apart, y).value.item()
    assert LABELS[name](apart.round(decimals=decimals), y).value.item() == pytest.approx(smooth, abs=0.25)


@pytest.mark.parametrize("scale", SCALES)
@every_pair
def test_the_scale_of_either_side_does_not_matter(name: str, scale: float) -> None:
    x, y = correlated(0.8, 2)
    value = PAIRS[name](x, y).value.item()
    for pair in ((scale * x, y), (x, scale * y), (scale * x, y / scale)):
        assert PAIRS[name](*pair).value.item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", LABELS)
def test_the_scale_does_not_matter_to_labels(name: str, scale: float) -> None:
    y = classes(N, of=5)
    x = normal(N, 2) + y[:, None]
    assert LABELS[name](scale * x, y).value.item() == pytest.approx(LABELS[name](x, y).value.item(), abs=1e-6)


def sides() -> dict[str, tuple[Tensor, Tensor, float]]:
    """Pairs in which one or both sides have duplicate rows, and their information."""
    x, labels = normal(N, 2, seed=31), classes(N, of=10)
    binary = (x[:, :1] > 0).double()
    dead = torch.relu(normal(N, 2, seed=32))
    column = labels[:, None].double()
    named = one_hot(labels).double()
    first, second = correlated(0.8, 1)
    clusters = 9 * normal(10, 2, seed=33)[labels] + 0.1 * x
    of_binary, of_labels = (float(label_entropy(side).value) for side in (binary[:, 0].long(), labels))
    return {
        "binary, independent": (normal(N, 1, seed=34), binary, 0.0),
        "binary, a function": (x, binary, of_binary),
        "binary, both": (binary, (normal(N, 1, seed=35) > 0).double(), 0.0),
        "labels, independent": (x, column, 0.0),
        "labels, clusters": (clusters, column, of_labels),
        "labels, renamed": (column, ((3 * column + 1) % 10) / 3, of_labels),
        "one-hot, independent": (x, named, 0.0),
        "one-hot, clusters": (clusters, named, of_labels),
        "dead half the time": (x, dead, 0.0),
        "both dead": (torch.relu(x), dead, 0.0),
        "counts": (x, normal(N, 1, seed=36).exp().floor(), 0.0),
        "mostly equal": (x, torch.where(torch.arange(N)[:, None] % 5 > 0, 0.3, normal(N, 2, seed=37)), 0.0),
        "ranks": (first.argsort(0).argsort(0).double(), second.argsort(0).argsort(0).double(), TRUTH),
        "a grid": (torch.linspace(-1, 1, N)[:, None], normal(N, 1, seed=38), 0.0),
    }


@pytest.mark.parametrize("case", sides())
@every_nearest
def test_discrete_sides(name: str, case: str, caplog: pytest.LogCaptureFixture) -> None:
    """Regression: LocalKL and others gave up to 23 nats for a binary side, or an error without a remedy."""
    x, y, truth = sides()[case]
    for pair in ((x, y), (y, x)):
        value = NEAREST[name](*pair).value.item()
        if name == "joint" and "clusters" in case:  # its formula fails there and a warning reports it
            assert value > most(*pair)
            assert "JointKL exceeds the entropy of" in caplog.text
        else:
            assert value == pytest.approx(truth, abs=0.4)


def most(*given: Tensor) -> float:
    """min(ln n, entropy of each side), with the first-order bias correction of the entropies."""

    def entropy(side: Tensor) -> float:
        rows = side if side.dim() == 2 else side[:, None]
        which = torch.unique(rows, dim=0, return_inverse=True)[1]
        return label_entropy(which, miller_madow=True).value.item()

    return min(math.log(len(given[0])), *map(entropy, given))


def told(estimate: Callable[[], Estimate], ceiling: float, caplog: pytest.LogCaptureFixture) -> None:
    """Check that a value above its upper bound gives a warning."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        value = estimate().value.item()
    if value > ceiling + 1e-3:
        assert "the estimate is too high" in caplog.text


@pytest.mark.parametrize("case", sides())
@every_pair
def test_nothing_above_a_ceiling_is_silent(name: str, case: str, caplog: pytest.LogCaptureFixture) -> None:
    x, y, _ = sides()[case]
    for pair in ((x, y), (y, x)):
        told(lambda pair=pair: PAIRS[name](*pair), most(*pair), caplog)


@pytest.mark.parametrize("name", LABELS | BOUNDS)
def test_nothing_above_h_of_the_labels_is_silent(name: str, caplog: pytest.LogCaptureFixture) -> None:
    estimator = (LABELS | BOUNDS)[name]
    for y in (classes(N, of=2), classes(N, of=50)):
        for x in (normal(N, 4), one_hot(y).double(), torch.relu(normal(N, 2) + y[:, None])):
            told(lambda x=x, y=y: estimator(x, y), most(x, y), caplog)


def test_warnings_name_the_bound(caplog: pytest.LogCaptureFixture) -> None:
    x, y = normal(60, 2), classes(60, of=2)
    assert KDE(1e-3, "upper")(x, y).value > math.log(2)
    assert "KDE exceeds the entropy of y, which has duplicate rows: the estimate is too high" in caplog.text
    thin = x + 1e-4 * normal(60, 2, seed=1)
    for estimator in (LocalKL(), JointKL(), WeightedKL()):
        assert estimator(x, thin).value > math.log(60)
        assert f"{type(estimator).__name__} exceeds ln n" in caplog.text
    assert Discrete()(torch.arange(60), torch.arange(60)).value > math.log(60)
    assert "Discrete exceeds ln n" in caplog.text
    assert KnownNoise(1e-6)(torch.arange(60), 9 * x).value > math.log(60)
    assert "KnownNoise exceeds ln n" in caplog.text
    assert KnownNoise(0.25)(y, 9 * y[:, None] + 3 * x[:, :1]).value > math.log(2)
    assert "KnownNoise exceeds the entropy of x" in caplog.text


def test_one_call_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    KDE(1e-3, "upper")(normal(5, 60, 2), classes(60, of=2))
    assert caplog.text.count("too high") == 1


def test_noise_that_was_rounded_is_refused() -> None:
    with pytest.raises(ValueError, match="y lies on a lattice"):
        KnownNoise(1.0)(torch.arange(N), normal(N, 2).round(decimals=1))
