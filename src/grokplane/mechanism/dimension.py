"""Measures of the dimension of a matrix, from its singular values s.

With the shares p_i = s_i^2 / sum_j s_j^2 the measures of dimension are Rényi entropies, and are therefore ordered:
1 <= stable rank <= participation ratio <= exp(spectral entropy) <= effective rank <= rank. All are invariant under
rotations of rows and columns. All except the spectral norm are invariant under scale.
"""

from __future__ import annotations

import torch
from torch import Tensor


def squared_singular_values(matrices: Tensor) -> Tensor:
    """Squared singular values [E, min(m, n)] in float64, ascending, of matrices [E, m, n].

    They are the eigenvalues of the Gram matrix of the smaller side. Those below its round-off, which is
    max(m, n) * 2.2e-16 times the largest one, are 0. A member with values that are not finite has NaN.
    """
    values = matrices.double()
    tall = values.shape[1] >= values.shape[2]
    gram = values.mT @ values if tall else values @ values.mT
    finite = torch.isfinite(gram).flatten(1).all(1)[:, None]
    found = torch.linalg.eigvalsh(torch.where(finite[..., None], gram, 0))  # LAPACK rejects NaN
    round_off = max(values.shape[1:]) * torch.finfo(torch.float64).eps * found[:, -1:]
    return torch.where(finite, torch.where(found > round_off, found, 0), torch.nan)


def effective_rank(squares: Tensor) -> Tensor:
    """exp(entropy of s_i / sum_j s_j): Roy and Vetterli 2007, "The effective rank"."""
    return _entropy(squares.sqrt()).exp()


def stable_rank(squares: Tensor) -> Tensor:
    """sum_i s_i^2 / max_i s_i^2: squared Frobenius norm over squared spectral norm."""
    return squares.sum(1) / squares.amax(1)


def participation_ratio(squares: Tensor) -> Tensor:
    """(sum_i s_i^2)^2 / sum_i s_i^4."""
    return 1 / (squares / squares.sum(1, keepdim=True)).square().sum(1)


def spectral_entropy(squares: Tensor) -> Tensor:
    """Entropy of s_i^2 / sum_j s_j^2 in nats."""
    return _entropy(squares)


def spectral_norm(squares: Tensor) -> Tensor:
    """max_i s_i."""
    return squares.amax(1).sqrt()


def _entropy(weights: Tensor) -> Tensor:
    """Entropy [E] in nats of shares proportional to weights [E, k]; NaN if all are 0."""
    return torch.special.entr(weights / weights.sum(1, keepdim=True)).sum(1)


# Each maps squared singular values [E, k] to values [E].
MEASURES = {
    "effective_rank": effective_rank,
    "stable_rank": stable_rank,
    "participation_ratio": participation_ratio,
    "spectral_entropy": spectral_entropy,
    "spectral_norm": spectral_norm,
}
