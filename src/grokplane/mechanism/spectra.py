"""Spectra of real functions on a group: energy by frequency, its concentration, and key frequencies."""

from __future__ import annotations

import torch
from torch import Tensor


def energies(pairs: Tensor, values: Tensor) -> Tensor:
    """Energy of functions by frequency; it adds up to their sum of squares over the elements.

    Args:
        pairs: cosines and sines [E, 2, M, n] (`Waves.pairs`), or those at each token.
        values: functions [E, n, R].

    Returns:
        [E, M, R].
    """
    coefficients = torch.bmm(pairs.flatten(1, 2), values).unflatten(1, pairs.shape[1:3])
    return coefficients.square().sum(1)


def shares(energy: Tensor, total: Tensor) -> Tensor:
    """Share of each frequency: energy [E, M, R] divided by total [E, R]; zero where the total is zero."""
    return energy / torch.where(total == 0, 1, total)[:, None]


def participation(share: Tensor) -> Tensor:
    """Inverse participation ratio [E, R] of shares [E, M, R]: the sum of their squares; 1 for a single frequency.

    Gromov 2023, arXiv 2301.02679; Doshi et al. 2023, arXiv 2310.13061.
    """
    return share.square().sum(1)


def gini(share: Tensor, exists: Tensor) -> Tensor:
    """Gini coefficient [E, R] of nonnegative shares [E, M, R]: 0 for equal shares, 1 - 1/m for a single frequency.

    Args:
        share: zero for frequencies that a member does not have.
        exists: which of the frequencies a member has, m of them [E, M], bool.
    """
    count = exists.sum(1)[:, None].to(share.dtype)
    ascending = share.sort(1).values
    # Frequencies that do not exist are the first zeros of the order.
    rank = torch.arange(1, share.shape[1] + 1, device=share.device) - (~exists).sum(1)[:, None]
    weighted = ((2 * rank - count - 1)[..., None] * ascending).sum(1)
    total = share.sum(1)
    return weighted / (count * torch.where(total == 0, 1, total))


def top(share: Tensor, number: int) -> Tensor:
    """Sum [E, R] of the largest `number` of the shares [E, M, R]."""
    return share.topk(min(number, share.shape[1]), 1).values.sum(1)


def over_rows(values: Tensor, counted: Tensor) -> Tensor:
    """Mean [E] of values [E, R] over the rows of a mask [E, R]; NaN if there are none."""
    return torch.where(counted, values, 0).sum(1) / counted.sum(1)


def key_frequencies(share: Tensor, exists: Tensor, multiple: float) -> Tensor:
    """Frequencies whose share is at least a multiple of the uniform share 1/m [E, M], bool.

    Args:
        share: shares [E, M] of the energy without the constant; frequency 0, the constant, is never key.
        exists: which frequencies a member has besides the constant, m of them [E, M], bool.
        multiple: factor on the uniform share; 0: all frequencies are key.
    """
    return exists & (share * exists.sum(1, keepdim=True) >= multiple)
