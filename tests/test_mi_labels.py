"""Mutual information with labels: known true values, slow references, degenerate input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import digamma
from torch import Tensor

from grokplane.mi.base import Estimator
from grokplane.mi.binning import Binning
from grokplane.mi.class_kl import ClassKL
from grokplane.mi.discrete import Discrete, label_entropy
from grokplane.mi.kde_bounds import KDE
from grokplane.mi.ross import Ross
from grokplane.mi.sliced import Sliced

CONTINUOUS: dict[str, Estimator] = {"ross": Ross(), "class_kl": ClassKL()}
ANY: dict[str, Estimator] = CONTINUOUS | {
    "binning": Binning(bins=5),
    "kde_lower": KDE(0.5),
    "kde_upper": KDE(0.5, "upper"),
    "sliced": Sliced(projections=7),
    "sliced_plane": Sliced(projections=3, slice_dim=2),
}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def classes(*shape: int, of: int = 4, seed: int = 1) -> Tensor:
    return torch.randint(of, shape, generator=torch.Generator().manual_seed(seed))


def entropy(y: Tensor) -> float:
    share = torch.bincount(y).double() / len(y)
    return float(torch.special.entr(share).sum())


def mixture_truth(gap: float, count: int) -> float:
    """I(X;Y) for equally likely Y in 0..count-1 and X = gap Y + N(0, 1), by integration."""
    grid = np.linspace(-12, gap * count + 12, 40001)
    density = np.exp(-((grid[:, None] - gap * np.arange(count)) ** 2) / 2).mean(1) / math.sqrt(2 * math.pi)
    surprise = -density * np.log(np.maximum(density, 1e-300))
    return float(np.trapezoid(surprise, grid)) - 0.5 * math.log(2 * math.pi * math.e)


def ross_by_loops(x: Tensor, y: Tensor, k: int) -> float:
    """Ross 2014 by plain loops, with ties counted and classes of one left out."""
    points, labels = x.tolist(), y.tolist()
    keep = [i for i in range(len(labels)) if labels.count(labels[i]) > 1]
    terms = []
    for i in keep:
        gap = {j: math.dist(points[i], points[j]) for j in keep if j != i}
        own = sorted(gap[j] for j in gap if labels[j] == labels[i])
        reach = own[min(k, len(own)) - 1] * (1 + 1e-12)
        near, around = sum(g <= reach for g in own), sum(g <= reach for g in gap.values())
        terms.append(digamma(near) - digamma(len(own) + 1) - digamma(around))
    return float(digamma(len(keep)) + np.mean(terms))


def class_kl_by_loops(x: Tensor, y: Tensor, k: int) -> float:
    """The difference of Kozachenko-Leonenko entropies by plain loops."""

    def terms(rows: list[list[float]], k: int) -> list[float]:
        k, n, d = min(k, len(rows) - 1), len(rows), len(rows[0])
        reach = [sorted(math.dist(a, b) for b in rows)[k] for a in rows]
        return [float(digamma(n) - digamma(k)) + d * math.log(r) for r in reach]

    total = sum(terms(x.tolist(), k))
    return (total - sum(sum(terms(x[y == label].tolist(), k)) for label in y.unique())) / len(y)


def test_one_hot_of_the_label_gives_its_entropy() -> None:
    y = classes(600, of=10)
    x = torch.nn.functional.one_hot(y).double()
    expected = entropy(y)
    assert label_entropy(y).value.item() == pytest.approx(expected, abs=1e-12)
    assert Discrete(miller_madow=False)(y, y).value.item() == pytest.approx(expected, abs=1e-12)
    assert Binning()(x, y).value.item() == pytest.approx(expected, abs=1e-12)
    for bound in ("lower", "upper"):
        assert KDE(1e-4, bound)(x, y).value.item() == pytest.approx(expected, abs=1e-9)
    size = torch.bincount(y)[y].numpy()
    for estimator in (Ross(), Sliced(projections=20)):
        value = estimator(x, y).value.item()
        assert value == pytest.approx(digamma(600) - digamma(size).mean(), abs=1e-12)
        assert value == pytest.approx(expected, abs=10 / 600)
    assert ClassKL()(x, y).value.item() == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(("gap", "count"), [(0.0, 3), (1.0, 4), (3.0, 3), (30.0, 5)])
def test_mixture_of_normals_against_integration(gap: float, count: int) -> None:
    y = classes(1500, of=count)
    x = gap * y[:, None] + normal(1500, 1)
    truth = mixture_truth(gap, count) if gap < 30 else math.log(count)
    for estimator in CONTINUOUS.values():
        found = estimator(x, y)
        assert abs(found.value.item() - truth) < 3.5 * found.std_error.item() + 0.005


@pytest.mark.parametrize("k", [1, 3])
def test_ross_against_loops_with_ties_and_lonely_classes(k: int) -> None:
    x, y = normal(60, 2), classes(60, of=5)
    y[7], y[8:10] = 77, -3  # a class of one, a class of two
    x[40:] = x[:20]  # duplicates, within a class and across classes
    x[3] = x[4]
    assert Ross(k)(x, y).value.item() == pytest.approx(ross_by_loops(x, y, k), abs=1e-9)


def test_class_kl_against_loops() -> None:
    x, y = normal(60, 3), classes(60, of=5)
    y[8:10] = 9  # a class of two
    assert ClassKL(3)(x, y).value.item() == pytest.approx(class_kl_by_loops(x, y, 3), abs=1e-9)


def test_class_kl_leaves_out_copies() -> None:
    x, y = normal(80, 2), classes(80)
    plain = ClassKL()(x, y).value.item()
    columns = torch.cat([x, x[:, :1] - 2 * x[:, 1:], torch.full((80, 1), 3.0)], 1) * 0.5
    wide = torch.cat([x, torch.full((80, 1), 3.0)], 1)
    assert ClassKL()(wide, y).value.item() == pytest.approx(plain, abs=1e-9)
    assert ClassKL()(columns, y).value.item() == pytest.approx(ClassKL()(columns[:, :2], y).value.item(), abs=1e-9)
    assert ClassKL()(torch.cat([x, x[:30]]), torch.cat([y, y[:30]])).value.item() == pytest.approx(plain, abs=1e-9)
    assert ClassKL()(torch.full((80, 2), 3.0), y) == (0, 0)


def test_independent_variables_share_nothing() -> None:
    x, y = normal(20, 200, 2), classes(20, 200)
    for estimator in (Ross(), Discrete()):
        first = x if isinstance(estimator, Ross) else classes(20, 200, seed=5)
        values = estimator(first, y).value
        assert abs(values.mean().item()) < 3.5 * values.std().item() / 20**0.5


@pytest.mark.parametrize("name", ANY)
def test_batched_equals_looped(name: str) -> None:
    x, y = normal(2, 3, 40, 3), classes(3, 40)
    found = ANY[name](x, y)
    assert found.value.shape == found.std_error.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            alone = ANY[name](x[i, j], y[j])
            assert alone.value.item() == found.value[i, j].item()
            assert alone.std_error.item() == found.std_error[i, j].item()


@pytest.mark.parametrize("name", CONTINUOUS | {"sliced": ANY["sliced"], "binning": ANY["binning"]})
@pytest.mark.parametrize("scale", [2.0**-40, 2.0**40])
def test_scale_does_not_matter(name: str, scale: float) -> None:
    x, y = normal(50, 3), classes(50)
    assert ANY[name](x * scale, y).value.item() == pytest.approx(ANY[name](x, y).value.item(), abs=1e-9)


@pytest.mark.parametrize("name", ANY)
@pytest.mark.parametrize("case", ["duplicates", "constant column", "all equal", "outlier", "lonely classes", "float32"])
def test_nasty_input_stays_finite(name: str, case: str) -> None:
    x, y = normal(60, 3), classes(60)
    if case == "duplicates":
        x[42:], y[42:] = x[:18], y[:18]
    elif case == "constant column":
        x[:, 1] = 0.1
    elif case == "all equal":
        x[:] = 0.1
    elif case == "outlier":
        x[5] = 1e12
    elif case == "lonely classes":
        y[:20] = torch.arange(100, 120)
    found = ANY[name](x.float() if case == "float32" else x, y)
    assert torch.isfinite(found.value)
    assert 0 <= found.std_error.item() < 1
    assert found.value.item() <= math.log(60)
    if case == "all equal":
        assert abs(found.value.item()) < 0.1


def test_ross_never_exceeds_the_entropy_of_the_labels() -> None:
    y = classes(100, of=10)
    x = y[:, None] * 100 + normal(100, 1)
    ceiling = digamma(100) - digamma(torch.bincount(y)[y].numpy()).mean()
    assert Ross()(x, y).value.item() == pytest.approx(ceiling, abs=1e-12)


def test_standard_error_of_ross() -> None:
    y = classes(60, 200)
    x = 1.5 * y[..., None] + normal(60, 200, 1)
    found = Ross()(x, y)
    assert 0.6 < found.std_error.mean().item() / found.value.std().item() < 1.5


@pytest.mark.parametrize("name", CONTINUOUS)
def test_refusals(name: str) -> None:
    x, y, estimator = normal(30, 2), classes(30), ANY[name]
    with pytest.raises(ValueError, match="must be finite"):
        estimator(x.where(x < x.max(), torch.nan), y)
    with pytest.raises(ValueError, match="must be pairs"):
        estimator(x, y[:-1])
    with pytest.raises(ValueError, match="integer labels"):
        estimator(x, y.double())
    with pytest.raises(ValueError, match="must have at least 2"):
        estimator(x, torch.arange(30))
    with pytest.raises(ValueError, match="k=0: must be at least 1"):
        type(estimator)(k=0)  # pyright: ignore[reportCallIssue]
    with pytest.raises(ValueError, match="must have at least"):
        estimator(x[:1], y[:1])


def test_class_kl_needs_more_rows_than_neighbours() -> None:
    with pytest.raises(ValueError, match="must have at least 6"):
        ClassKL(k=5)(normal(5, 1), torch.zeros(5, dtype=torch.int64))


def test_discrete_against_a_table() -> None:
    x, y = classes(300, of=3), (classes(300, of=3) + classes(300, of=2, seed=9)) % 4
    table = np.zeros((3, 4))
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        table[a, b] += 1 / 300
    product = table.sum(1, keepdims=True) * table.sum(0)
    seen = table > 0
    truth = float((table[seen] * np.log(table[seen] / product[seen])).sum())
    correction = (3 + len(y.unique()) - seen.sum() - 1) / 600
    assert Discrete(miller_madow=False)(x, y).value.item() == pytest.approx(truth, abs=1e-12)
    assert Discrete()(x, y).value.item() == pytest.approx(truth + correction, abs=1e-12)


def test_miller_and_madow_take_the_bias_away() -> None:
    x, y = classes(400, 100, of=4), classes(400, 100, of=4, seed=8)
    plain, corrected = (Discrete(miller_madow=use)(x, y).value.mean().item() for use in (False, True))
    assert plain == pytest.approx(9 / 200, abs=0.01)  # (4 - 1)^2 / 2N, the first order
    assert abs(corrected) < 0.006
    low, high = (label_entropy(y, use).value.mean().item() - math.log(4) for use in (False, True))
    assert low == pytest.approx(-3 / 200, abs=0.004)
    assert abs(high) < 0.002


def test_binning_against_numpy() -> None:
    x, y = normal(200, 2), classes(200, of=3)
    cells = []
    for column in x.numpy().T:
        edges = np.linspace(column.min(), column.max(), 8)
        cells.append(np.minimum(np.digitize(column, edges) - 1, 6))
    pattern = torch.from_numpy(np.unique(np.stack(cells, 1), axis=0, return_inverse=True)[1].reshape(-1))
    expected = Discrete(miller_madow=False)(pattern, y)
    assert Binning(bins=7)(x, y).value.item() == pytest.approx(expected.value.item(), abs=1e-12)
    assert Binning(bins=7)(x, torch.arange(200)).value.item() == pytest.approx(entropy(pattern), abs=1e-12)


def test_binning_reaches_its_ceiling_and_no_further() -> None:
    x = normal(200, 50)
    assert Binning()(x, torch.arange(200)).value.item() == pytest.approx(math.log(200), abs=1e-12)
    assert Binning()(x, x @ normal(50, 3)).value.item() <= math.log(200) + 1e-12
