"""NumPy arrays and columns of labels give the same results as tensors and rows of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from grokplane import mi
from grokplane.mi import half_check, label_entropy, mixture, standardised
from grokplane.random import generator

X = torch.randn(60, 2, generator=generator(0, "arrays"), dtype=torch.float64)
Y = X + 0.5 * torch.randn(60, 2, generator=generator(1, "arrays"), dtype=torch.float64)
LABELS = (X[:, 0] > 0).long()
PAIRS = [mi.KSG(), mi.JointKL(), mi.WeightedKL(k=3), mi.LocalKL(), mi.Binning(bins=4), mi.Sliced(), mi.InfoNCE()]
OF_LABELS = [mi.Ross(), mi.ClassKL(), mi.Binning(bins=4), mi.Sliced(), mi.InfoNCE(), mi.KDE(0.1)]


def same(one: Any, other: Any) -> None:
    for left, right in zip(one, other, strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("estimator", PAIRS, ids=lambda one: type(one).__name__)
def test_arrays_of_samples(estimator):
    same(estimator(X.numpy(), Y.numpy()), estimator(X, Y))


@pytest.mark.parametrize("estimator", OF_LABELS, ids=lambda one: type(one).__name__)
def test_arrays_and_columns_of_labels(estimator):
    expected = estimator(X, LABELS)
    for labels in (LABELS.numpy(), LABELS[:, None], LABELS.numpy()[:, None], LABELS.numpy().astype("uint8")):
        same(estimator(X.numpy(), labels), expected)


def test_labels_of_both_sides_and_leading_axes():
    expected = mi.Discrete()(LABELS, LABELS.flip(0))
    same(mi.Discrete()(LABELS.numpy()[:, None], LABELS.flip(0)[:, None]), expected)
    both = torch.stack([LABELS, LABELS.flip(0)])
    same(mi.Ross()(X.numpy(), both[..., None].numpy()), mi.Ross()(X, both))
    same(label_entropy(LABELS.numpy()[:, None]), label_entropy(LABELS))
    same(half_check(mi.Ross(), X.numpy(), LABELS.numpy()[:, None])[2:], half_check(mi.Ross(), X, LABELS)[2:])


def test_functions_take_arrays_too():
    same(mi.bracket(X.numpy(), 0.1), mi.bracket(X, 0.1))
    assert torch.equal(standardised(X.numpy()), standardised(X))
    noise = mi.KnownNoise(covariance=0.01)
    same(noise(LABELS.numpy()[:, None], Y.numpy()), noise(LABELS, Y))
    named = {"Y": LABELS.numpy()[:, None]}
    found, expected = mixture(X.numpy(), named, draws=8), mixture(X, {"Y": LABELS}, draws=8)
    same(found.input, expected.input)


def test_arrays_that_torch_itself_does_not_take():
    fixed = X.numpy().copy()
    fixed.flags.writeable = False
    odd = [fixed, X.numpy()[::-1][::-1], X.numpy().astype(">f8"), np.asfortranarray(X.numpy())]
    for array in odd:
        same(mi.KSG()(array, Y), mi.KSG()(X, Y))
    for array in (np.array([["a"], ["b"]]), np.array([[object()], [None]])):
        with pytest.raises(ValueError, match=r"x is an array of .*: must hold numbers"):
            mi.KSG()(array, Y)
    with pytest.raises(ValueError, match=r"y is torch.float64 of shape \[60\]: must be integer labels"):
        mi.Ross()(X.numpy(), X.numpy()[:, :1])


def test_arrays_of_numbers_of_odd_kinds():
    for array in (
        X.numpy().astype(object),
        X.numpy().astype(np.longdouble),
        pd.DataFrame(X.numpy()).astype("Float64").to_numpy(),
    ):
        same(mi.KSG()(array, Y), mi.KSG()(X, Y))
    same(mi.Ross()(X, LABELS.numpy().astype(object)), mi.Ross()(X, LABELS))
    same(mi.KSG()(np.ma.masked_greater(X.numpy(), 1e9), Y), mi.KSG()(X, Y))
    with pytest.raises(ValueError, match="x has masked values: must be complete"):
        mi.KSG()(np.ma.masked_greater(X.numpy(), 1.0), Y)


def test_the_half_check_of_whole_numbers_that_are_no_labels():
    x, y = (100 * X).long(), (100 * Y).long()
    for one, other in ((x, y), (x, y.double()), (x.expand(3, 60, 2), y)):
        same(half_check(mi.KSG(), one, other)[2:], half_check(mi.KSG(), one.double(), other.double())[2:])
    both = torch.stack([LABELS, LABELS.flip(0)])
    split = half_check(mi.Discrete(), both, LABELS)
    assert torch.equal(split.drift[:1], half_check(mi.Discrete(), LABELS, LABELS).drift[None])
    with pytest.raises(ValueError, match=r"x has shape \[60\]"):
        half_check(mi.KSG(), X[:, 0], Y)
