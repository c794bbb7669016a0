"""Every estimator on degenerate samples: a finite result or a ValueError that states the reason."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_mi_neighbours import normal
from torch import Tensor

from grokplane.mi import (
    KDE,
    KSG,
    PCA,
    Binning,
    ClassKL,
    Discrete,
    Estimate,
    InfoNCE,
    JointKL,
    KnownNoise,
    Ross,
    Sliced,
    WeightedKL,
    label_entropy,
)
from grokplane.mi.local_kl import LocalKL

Pair = Callable[[Tensor, Tensor], Estimate]
NOISE = 1e-3

VECTORS: dict[str, Pair] = {
    "ksg1": KSG(),
    "ksg2": KSG(variant=2),
    "weighted": WeightedKL(k=12),
    "weighted raw": WeightedKL(k=12, rescale=False),
    "joint": JointKL(shuffles=2),
    "local": LocalKL(),
    "binning": Binning(),
    "sliced": Sliced(projections=4),
    "sliced plane": Sliced(projections=2, slice_dim=2),
    "info_nce": InfoNCE(steps=2, hidden=4, features=2),
    "known noise": lambda x, y: KnownNoise(NOISE**2 * torch.eye(y.shape[1], dtype=torch.float64))(x, y),
}
LABELS: dict[str, Pair] = {
    "ross": Ross(),
    "class_kl": ClassKL(),
    "class_kl weighted": ClassKL(k=12, weighted=True),
    "class_kl infoplane": ClassKL(k=12, weighted=True, rescale=True),
    "class_kl rescaled": ClassKL(rescale=True),
    "kde lower": KDE(NOISE),
    "kde upper": KDE(NOISE, "upper"),
    "binned": Binning(),
    "sliced labels": Sliced(projections=4),
    "info_nce labels": InfoNCE(steps=2, hidden=4, features=2),
}
ALONE: dict[str, Callable[[Tensor], Estimate]] = {
    "kde rows": KDE(NOISE),
    "kde rows, upper": KDE(NOISE, "upper"),
}
REASONS = re.compile(r"must|infinite|minus infinity|at distance 0|rescale it|rank")
quickly = settings(derandomize=True, deadline=None, max_examples=40, database=None)


@st.composite
def vectors(draw: st.DrawFn, count: int | None = None) -> Tensor:
    """Rows [n, d] with any number of flaws."""
    count = draw(st.sampled_from([1, 2, 3, 4, 5, 8, 13, 14, 40])) if count is None else count
    dims, seed = draw(st.integers(1, 5)), draw(st.integers(0, 3))
    x = normal(count, dims, seed=seed)
    flaws = draw(st.sets(st.sampled_from(sorted(FLAWS)), max_size=3))
    for flaw in sorted(flaws):
        x = FLAWS[flaw](x)
    return x * 10.0 ** draw(st.sampled_from([-12, -6, 0, 0, 6, 12]))


def _repeated(x: Tensor) -> Tensor:
    part = len(x) * 3 // 10
    return torch.cat([x[: len(x) - part], x[:part]])


FLAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "duplicates": _repeated,
    "constant column": lambda x: torch.cat([x, torch.full((len(x), 1), 0.1)], 1),
    "copied column": lambda x: torch.cat([x, 3 * x[:, :1] - 1], 1),
    "outlier": lambda x: torch.cat([x[:1] * 1e12, x[1:]]),
    "equal rows": lambda x: torch.cat([x[:1].expand(len(x) // 2, -1), x[len(x) // 2 :]]),
    "grid": lambda x: x.round(),
    "far from zero": lambda x: x + 1e9,
    "nearly singular": lambda x: torch.cat([x, x[:, :1] + 1e-9 * x[:, -1:] ** 2], 1),
    "thin": lambda x: torch.cat([x[:, :1], x[:, 1:] * 1e-9], 1),
}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Two sides, each with flaws; y is sometimes a function of x."""
    x = draw(vectors())
    y = draw(vectors(len(x)))
    return x, draw(st.sampled_from([y, y, y, x, x[:, :1] ** 2]))


@st.composite
def labelled(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Rows and labels: few classes, one class, one class per row, or some classes of one sample."""
    x = draw(vectors())
    count = len(x)
    few = torch.arange(count) * 7 % 3
    lonely = torch.where(torch.arange(count) < count // 3, torch.arange(count) + 100, few)
    return x, draw(st.sampled_from([few, lonely, few * 0, torch.arange(count), -(2**62) * few]))


def outcome(estimate: Callable[[], Estimate]) -> Estimate | str:
    """The estimate, or the error message."""
    try:
        return estimate()
    except ValueError as refusal:
        return f"{type(refusal).__name__}: {refusal}"


def finite_or_refused(estimate: Callable[[], Estimate]) -> None:
    found = outcome(estimate)
    if isinstance(found, str):
        assert found.startswith("ValueError: ")
        assert REASONS.search(found), found
        return
    assert found.value.dtype == found.std_error.dtype == torch.float64
    assert math.isfinite(found.value)
    assert 0 <= float(found.std_error) < math.inf


def asked(name: str, x: Tensor) -> Estimate:
    """Call any estimator with x and a second side or labels."""
    if name in ALONE:
        return ALONE[name](x)
    if name in LABELS:
        return LABELS[name](x, torch.arange(len(x)) % 3)
    return VECTORS[name](x, normal(len(x), x.shape[1], seed=1))


@pytest.mark.parametrize("name", VECTORS)
@given(sample=pairs())
@quickly
def test_pairs_of_vectors(name: str, sample: tuple[Tensor, Tensor]):
    finite_or_refused(lambda: VECTORS[name](*sample))


@pytest.mark.parametrize("name", LABELS)
@given(sample=labelled())
@quickly
def test_vectors_against_labels(name: str, sample: tuple[Tensor, Tensor]):
    finite_or_refused(lambda: LABELS[name](*sample))


@pytest.mark.parametrize("name", ALONE)
@given(x=vectors())
@quickly
def test_bounds_of_rows(name: str, x: Tensor):
    finite_or_refused(lambda: ALONE[name](x))


@given(sample=labelled())
@quickly
def test_labels_alone(sample: tuple[Tensor, Tensor]):
    finite_or_refused(lambda: Discrete()(sample[1], sample[1].flip(0)))
    finite_or_refused(lambda: label_entropy(sample[1]))


@given(x=vectors())
@quickly
def test_compressed_rows(x: Tensor):
    finite_or_refused(lambda: KSG()(PCA(2).fit(x)(x), x))


BEARABLE = ["duplicates", "constant column", "copied column", "outlier"]
DENSITY = {"known noise": ["constant column", "copied column"]}  # a layer that includes its noise has neither


@pytest.mark.parametrize("flaw", BEARABLE)
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("name", VECTORS | LABELS)
def test_common_flaws_are_answered_and_not_refused(name: str, flaw: str, scale: float):
    x, y = FLAWS[flaw](normal(60, 2)) * scale, FLAWS[flaw](normal(60, 2, seed=1)) * scale
    if flaw in DENSITY.get(name, []):
        with pytest.raises(ValueError, match="must include the noise"):
            VECTORS[name](x, y)
        return
    found = VECTORS[name](x, y) if name in VECTORS else LABELS[name](x, torch.arange(60) % 3)
    assert math.isfinite(found.value)
    assert math.isfinite(found.std_error)


@pytest.mark.parametrize("spoilt", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", VECTORS | LABELS | ALONE)
def test_what_is_not_finite_is_refused(name: str, spoilt: float):
    x = normal(40, 2)
    x[7, 1] = spoilt
    with pytest.raises(ValueError, match="holds NaN or infinity: must be finite"):
        asked(name, x)
    if name in VECTORS:
        with pytest.raises(ValueError, match="y holds NaN or infinity"):
            VECTORS[name](normal(40, 2, seed=1), x)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", ["ksg1", "weighted", "joint", "class_kl", "class_kl infoplane"])
def test_fewer_samples_than_neighbours_are_refused(name: str, count: int):
    with pytest.raises(ValueError, match="must have at least"):
        asked(name, normal(count, 3))
