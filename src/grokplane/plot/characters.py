"""Frequencies of functions on a product of cyclic groups, numbered as in the metric `fourier`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def known(orders: np.ndarray) -> bool:
    """Whether a group is a product of cyclic groups of these orders; a 0 says that it is not."""
    return bool((orders > 0).all())


def turns(orders: Sequence[int]) -> np.ndarray:
    """Phase of each frequency at each element as a share of a full turn [M, n]; frequency 0 is the constant.

    Args:
        orders: n1, n2, ... of the cyclic groups; the digits of an element are its coordinates, the last one varying
            fastest. For one group of order n the phase of frequency k at g is k g / n mod 1, k = 0, ..., n/2.
    """
    digits = np.array(list(np.ndindex(*orders)))
    places = np.array([math.prod(orders[number + 1 :]) for number in range(len(orders))])
    conjugate = (-digits % orders * places).sum(1)
    first = digits[np.arange(len(digits)) <= conjugate]
    return (first[:, None] * digits / np.array(orders)).sum(2) % 1


def waves(turns: np.ndarray) -> np.ndarray:
    """Cosine and sine of each frequency [2, M, n], orthonormal over the n elements; zero where there is no sine."""
    angles = 2 * np.pi * turns
    alone = np.abs((2 * turns + 0.5) % 1 - 0.5).max(1, keepdims=True) < 1e-9  # phases 0 and 1/2 only
    scale = np.sqrt(np.where(alone, 1, 2) / turns.shape[1])
    return np.stack([np.cos(angles) * scale, np.where(alone, 0, np.sin(angles) * scale)])


def energies(turns: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Energy by frequency [..., M] of functions [..., n, R]; it adds up to their sum of squares."""
    coefficients = waves(turns) @ values[..., None, :, :].astype(float)
    return np.square(coefficients).sum((-3, -1))
