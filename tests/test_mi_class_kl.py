"""ClassKL in the Information-v3 form, and KSG on a subset of rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import digamma
from test_mi_knn import information_v3, pairs
from test_mi_labels import classes, normal
from torch import Tensor

from grokplane.mi import KSG, ClassKL, WeightedKL
from grokplane.mi.entropy import kl_terms, weighted_terms
from grokplane.mi.scale import at_one_scale

PUBLISHED = ClassKL(k=20, weighted=True, rescale=True)


@pytest.mark.parametrize("dims", [1, 2, 4, 5, 7])
def test_the_published_form_against_a_slow_twin(dims: int):
    y = classes(200, of=3)
    x = normal(200, dims) + y[:, None]
    x[:, 0] *= 1e3
    within = sum(float((y == c).double().mean()) * information_v3(x[y == c].numpy(), 20) for c in range(3))
    assert PUBLISHED(x, y).value.item() == pytest.approx(information_v3(x.numpy(), 20) - within, abs=1e-9)


def test_the_layers_entropy_is_the_same_against_input_and_labels():
    x, y, label = normal(300, 4, seed=3), normal(300, 4), classes(300)
    before = PUBLISHED(y, label)
    WeightedKL()(x, y)
    assert PUBLISHED(y, label) == before


def test_weights_without_rescaling_are_for_raw_rows():
    x, y = normal(150, 6), classes(150, of=2)
    x[y == 0] *= torch.tensor([1.0, 2, 3, 4, 5, 6])
    found = ClassKL(k=12, weighted=True)
    moved = found(x @ torch.linalg.qr(normal(6, 6, seed=5)).Q + 3, y)
    assert moved.value.item() == pytest.approx(found(x, y).value.item(), abs=1e-8)
    stretched = x * torch.tensor([1.0, 1, 1, 1, 1, 9])
    assert abs(found(stretched, y).value.item() - found(x, y).value.item()) > 0.01
    assert PUBLISHED(stretched, y).value.item() == pytest.approx(PUBLISHED(x, y).value.item(), abs=1e-8)


def white(x: Tensor, like: Tensor) -> tuple[Tensor, float]:
    values, vectors = torch.linalg.eigh(like.T.cov())
    return x @ vectors / values.sqrt(), float(values.log().sum()) / 2


def test_plain_entropies_rescaled():
    x, y = normal(90, 2) * torch.tensor([1.0, 50.0]), classes(90, of=2)

    def entropy(rows: Tensor) -> float:
        shaped, log_det = white(rows, rows)
        return float(kl_terms(shaped, 3).mean()) + float(digamma(len(rows))) - math.log(len(rows) - 1) + log_det

    expected = entropy(x) - sum(float((y == c).double().mean()) * entropy(x[y == c]) for c in range(2))
    assert ClassKL(rescale=True)(x, y).value.item() == pytest.approx(expected, abs=1e-9)


def test_a_class_too_small_or_flat_is_whitened_with_all():
    x, y = normal(120, 3), classes(120, of=2)
    y[:4], y[4:30] = 7, 8
    x[4:30, 2] = x[4:30, 0] - 1  # a class in a plane
    found = ClassKL(k=3, weighted=True, rescale=True)(x, y).value.item()
    expected = information_v3(x.numpy(), 3)
    for label in y.unique():
        members = x[y == label]
        shaped, log_det = white(members, x if label >= 7 else members)
        expected -= len(members) / 120 * (float(kl_terms(shaped, 1).mean()) + log_det)
    assert found == pytest.approx(expected, abs=1e-8)


def test_a_class_with_no_more_rows_than_dimensions_uses_its_first_neighbour():
    x, y = normal(100, 6), torch.zeros(100, dtype=torch.int64)
    y[:5] = 1
    found = ClassKL(k=12, weighted=True)(x, y).value.item()
    small, rest = x[:5], x[5:]
    whole = ClassKL(k=12, weighted=True)(x, y * 0).value.item()
    assert whole == pytest.approx(0, abs=1e-12)
    of_all, of_rest = (float(weighted_terms(rows, 12).mean()) for rows in (x, rest))
    inside = 0.05 * float(kl_terms(small, 1).mean()) + 0.95 * of_rest
    assert found == pytest.approx(of_all - inside, abs=1e-9)
    with pytest.raises(ValueError, match="k=3 in 6 dimensions"):
        ClassKL(k=3, weighted=True)(x, y)


def ksg_terms(x: Tensor, y: Tensor, k: int) -> np.ndarray:
    """Kraskov's terms (equation 8) from the full distance matrices of normalised sides."""
    x, y = at_one_scale(x), at_one_scale(y)
    of_x, of_y = (cdist(side.numpy(), side.numpy(), "chebyshev") for side in (x, y))
    joint = np.sort(np.maximum(of_x, of_y), 1)[:, k, None]
    around = [(side < joint * (1 - 1e-12)).sum(1) for side in (of_x, of_y)]  # the point itself stands for the + 1
    return digamma(k) + digamma(len(x)) - digamma(around[0]) - digamma(around[1])


def test_ksg_over_some_rows_is_the_mean_of_their_terms():
    x, y = pairs(0.8, 2, 61)
    terms = ksg_terms(x, y, 3)
    for rows in (61, 1000):
        assert KSG(rows=rows)(x, y).value.item() == pytest.approx(terms.mean(), abs=1e-9)
    assert KSG(rows=31)(x, y).value.item() == pytest.approx(terms[::2].mean(), abs=1e-9)
    assert KSG(rows=3)(x, y).value.item() == pytest.approx(terms[[0, 30, 60]].mean(), abs=1e-9)


def test_the_second_variant_over_some_rows():
    x, y = pairs(0.8, 2, 61)
    every = KSG(variant=2)(x, y)
    assert KSG(variant=2, rows=61)(x, y) == every
    assert abs(KSG(variant=2, rows=40)(x, y).value.item() - every.value.item()) < 3 * every.std_error.item()


def test_ksg_over_some_rows_has_a_larger_error():
    x, y = pairs(0.7, 2, 800, lead=(6,))
    whole, part = KSG()(x, y), KSG(rows=200)(x, y)
    assert abs(float((whole.value - part.value).mean())) < 0.05
    assert float((part.std_error / whole.std_error).mean()) == pytest.approx(2, rel=0.2)
