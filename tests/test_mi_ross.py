"""The Ross estimator against the full distance matrix: ties, classes of one sample, scales, outliers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import digamma
from torch import Tensor

from grokplane.mi import Ross
from tests.test_mi_labels import classes, normal


def ross_in_numpy(x: Tensor, y: Tensor, k: int) -> tuple[float, float]:
    """Ross 2014 from the full distance matrix, by differences, row by row."""
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
    for y in labels:
        value, error = ross_in_numpy(x, y, k)
        found = Ross(k)(x, y)
        assert found.value.item() == pytest.approx(value, abs=1e-12)
        assert found.std_error.item() == pytest.approx(error, abs=1e-12)


@pytest.mark.parametrize("dims", [1, 4, 20])
@pytest.mark.parametrize("k", [1, 3, 60])
def test_classes_of_every_size(dims: int, k: int) -> None:
    """Classes of one (200 labels for 230 rows), of fewer than k, and all in one class."""
    assert_ross(normal(230, dims), [classes(230, of=of) for of in (1, 2, 10, 40, 200)], k)


def test_duplicates_and_ties() -> None:
    """Ties within and across classes, more than k of them; a grid; duplicate rows; one-hot labels."""
    labels = [classes(180, of=of) for of in (2, 12, 60)]
    x = normal(180, 9)
    x[60:] = x[:60].repeat(2, 1)
    assert_ross(x, labels)
    x[90:] = x[0].clone()
    assert_ross(x, labels)
    assert_ross((normal(180, 3) * 2).round(), labels)
    assert_ross(torch.full((180, 5), 0.1, dtype=torch.float64), labels)
    assert_ross(torch.nn.functional.one_hot(labels[1]).double(), labels)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_any_scale_and_far_from_the_origin(scale: float) -> None:
    labels = [classes(150, of=of) for of in (2, 9)]
    near = normal(12, 20, seed=5)[classes(150, of=12)] + 1e-9 * normal(150, 20, seed=6)
    for x in (normal(150, 20), near, (normal(150, 20) * 64).round() + 2.0**30):
        assert_ross(x * scale, labels)


def test_an_outlier_does_no_harm() -> None:
    x, y = normal(300, 4), classes(300, of=5)
    plain = Ross()(x, y).value.item()
    x[7] = 1e12
    assert Ross()(x, y).value.item() == pytest.approx(plain, abs=0.02)
