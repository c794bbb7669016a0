"""The real Fourier basis and spectra on a group, against closed forms, numpy's transform and plain loops."""

from __future__ import annotations

import cmath
import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from grokplane.mechanism import spectra
from grokplane.mechanism.waves import Waves

ORDERS = [(2,), (7,), (8,), (2, 2), (2, 4, 3), (3, 5), (4, 6)]


def characters(orders: tuple[int, ...]) -> list[list[complex]]:
    """The characters by number at every element, in plain loops."""
    elements = list(itertools.product(*map(range, orders)))
    return [
        [cmath.exp(2j * math.pi * sum(k * g / n for k, g, n in zip(ks, gs, orders, strict=True))) for gs in elements]
        for ks in elements
    ]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("orders", ORDERS)
def test_each_character_and_its_conjugate_are_one_frequency(orders: tuple[int, ...]) -> None:
    waves, n = Waves(orders), math.prod(orders)
    values = np.array(characters(orders))
    number = 0
    for k in range(n):
        conjugate = next(j for j in range(n) if np.allclose(values[j], values[k].conj()))
        if conjugate < k:
            continue
        scale = math.sqrt((1 if conjugate == k else 2) / n)
        np.testing.assert_allclose(waves.pairs[0, number], values[k].real * scale, atol=1e-12)
        np.testing.assert_allclose(waves.pairs[1, number], values[k].imag * scale, atol=1e-12)
        assert bool(waves.alone[number]) == (conjugate == k)
        number += 1
    assert number == waves.pairs.shape[1]
    assert torch.allclose(waves.pairs[0, 0], torch.full((n,), n**-0.5, dtype=torch.float64))


@pytest.mark.parametrize("orders", ORDERS)
def test_the_rows_are_an_orthonormal_basis(orders: tuple[int, ...]) -> None:
    functions, component = Waves(orders).rows
    n = math.prod(orders)
    torch.testing.assert_close(functions @ functions.T, torch.eye(n, dtype=torch.float64), rtol=0, atol=1e-12)
    assert component.tolist() == sorted(component.tolist())
    for number, row in zip(component.tolist(), functions, strict=True):
        inside = Waves(orders).pairs[:, number] @ row
        assert float(inside.square().sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("n", [7, 8])
def test_energies_are_those_of_the_fast_fourier_transform(n: int) -> None:
    values = random(2, n, 3)
    found = spectra.energies(Waves((n,)).pairs.expand(2, -1, -1, -1), values)
    transformed = np.abs(np.fft.fft(values.numpy(), axis=1)) ** 2 / n
    for k in range(n // 2 + 1):
        expected = transformed[:, k] + (transformed[:, n - k] if 0 < 2 * k < n or n < 2 * k else 0)
        np.testing.assert_allclose(found[:, k], expected, atol=1e-12)
    torch.testing.assert_close(found.sum(1), values.square().sum(1))


def test_participation_is_one_for_a_cosine_and_published_for_random_rows() -> None:
    p = 97
    waves = Waves((p,)).pairs[None]
    angles = 2 * math.pi * 5 / p * torch.arange(p).double()
    cosines = torch.stack([torch.cos(angles + phase) for phase in (0.0, 0.4, 2.0)], 1)[None]
    normal = random(1, p, 4000)
    for values, expected, error in ((cosines, 1.0, 1e-12), (normal, 0.040, 5e-4)):
        energy = spectra.energies(waves, values)
        share = spectra.shares(energy, energy.sum(1))
        assert spectra.participation(share).mean().item() == pytest.approx(expected, abs=error)


def test_gini_and_largest_shares_by_plain_loops_and_without_padding() -> None:
    m, padded = 6, 9
    share = random(2, m, 4).square()
    share = share / share.sum(1, keepdim=True)
    wide = torch.cat([share, share.new_zeros(2, padded - m, 4)], 1)
    exists = (torch.arange(padded) < m).expand(2, -1)
    found, three = spectra.gini(wide, exists), spectra.top(wide, 3)
    for e, row in itertools.product(range(2), range(4)):
        values = share[e, :, row].tolist()
        difference = sum(abs(x - y) for x in values for y in values)
        assert float(found[e, row]) == pytest.approx(difference / (2 * m * sum(values)), abs=1e-12)
        assert float(three[e, row]) == pytest.approx(sum(sorted(values)[-3:]), abs=1e-12)
    single = torch.zeros(1, m, 1, dtype=torch.float64)
    single[0, 2] = 1
    assert float(spectra.gini(single, exists[:1, :m])) == pytest.approx(1 - 1 / m)


def test_key_frequencies_exceed_a_multiple_of_the_uniform_share() -> None:
    share = torch.tensor([[0.0, 0.5, 0.3, 0.15, 0.05], [0.0, 0.4, 0.6, 0.0, 0.0]])
    exists = torch.tensor([[False, True, True, True, True], [False, True, True, False, False]])
    found = [spectra.key_frequencies(share, exists, multiple).tolist() for multiple in (0.0, 1.2, 5.0)]
    assert found[0] == exists.tolist()
    assert found[1] == [[False, True, True, False, False], [False, False, True, False, False]]
    assert not any(map(any, found[2]))


def test_a_mean_over_no_rows_is_nan() -> None:
    values = torch.tensor([[1.0, 2.0, 4.0], [1.0, 1.0, 1.0]])
    found = spectra.over_rows(values, torch.tensor([[True, False, True], [False] * 3]))
    assert found[0] == 2.5
    assert found[1].isnan()
