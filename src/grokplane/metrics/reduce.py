"""Reductions that several metrics share: they keep the member axis, leave padding out and never sync with the host."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from grokplane.metrics.observation import Subset


def flat(values: Tensor) -> Tensor:
    """A member's values as one row: [E, ...] -> [E, m]."""
    return values.reshape(values.shape[0], -1)


def l2_norm(tensors: Iterable[Tensor]) -> Tensor:
    """Each member's L2 norm [E], in float64, of all the tensors [E, ...] together.

    Sums go along rows: torch adds a single column in another order than several, to other bits.
    """
    norms = [torch.linalg.vector_norm(flat(tensor), dim=1).double() for tensor in tensors]
    return torch.linalg.vector_norm(torch.stack(norms, 1), dim=1)


def masked_mean_and_variance(values: Tensor, subset: Subset) -> tuple[Tensor, Tensor]:
    """Mean and population variance, both [E] in float64, over the real points and all units of values [E, n, ..., F].

    Two passes, the variance from differences to the mean: E[x^2] - E[x]^2 loses every digit once the mean is large
    against the spread. Each point is reduced to one number first, so that the mask need not touch the large tensor.
    """
    rows = values.flatten(2)
    mean = subset.mean(rows.mean(2).double())
    differences = rows - mean.to(rows.dtype)[:, None, None]
    distances = torch.linalg.vector_norm(differences, dim=2).double()
    return mean, subset.mean(distances.square()) / rows.shape[2]


def masked_fraction(flags: Tensor, subset: Subset) -> Tensor:
    """Mean [E], in float64, of flags or shares [E, n] of the real points; of flags exactly 1 if all are set."""
    return flags.where(subset.mask, 0).sum(1).double() / subset.mask.sum(1)
