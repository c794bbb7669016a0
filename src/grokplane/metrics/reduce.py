"""Reductions shared by metrics. They keep the member axis, ignore padding and do not synchronise with the host."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from grokplane.metrics.observation import Subset
from grokplane.metrics.positions import scored_positions


def flat(values: Tensor) -> Tensor:
    """Flatten each member's values to one row: [E, ...] -> [E, m]."""
    return values.reshape(values.shape[0], -1)


def l2_norm(tensors: Iterable[Tensor]) -> Tensor:
    """L2 norm [E] of each member over all tensors [E, ...] together, in float64.

    The sums are along rows, because torch sums a single column in another order than several columns, which would
    change the last bits between a stack and a run alone.
    """
    norms = [torch.linalg.vector_norm(flat(tensor), dim=1).double() for tensor in tensors]
    return torch.linalg.vector_norm(torch.stack(norms, 1), dim=1)


def masked_mean_and_variance(values: Tensor, subset: Subset) -> tuple[Tensor, Tensor]:
    """Mean and population variance [E] in float64, over the unpadded points and all units of values [E, n, ..., F].

    The variance is computed in a second pass from differences to the mean, because E[x^2] - E[x]^2 loses all precision
    if the mean is large relative to the standard deviation. Each point is first reduced to one number, so that the mask
    is not applied to the large tensor. Of answers that are sequences, the scored positions of each point count.
    """
    scored = scored_positions(values, subset)
    if scored is not None:
        return _of_positions(values, scored, subset)
    rows = values.flatten(2)
    mean = subset.mean(rows.mean(2).double())
    differences = rows - mean.to(rows.dtype)[:, None, None]
    distances = torch.linalg.vector_norm(differences, dim=2).double()
    return mean, subset.mean(distances.square()) / rows.shape[2]


def _of_positions(values: Tensor, counted: Tensor, subset: Subset) -> tuple[Tensor, Tensor]:
    """The same of values [E, n, K, F] at the counted positions [E, n, K]; points have equal weights."""
    sizes = counted.sum(2) * values.shape[3]
    mean = subset.mean(torch.where(counted[..., None], values, 0).flatten(2).sum(2).double() / sizes)
    differences = torch.where(counted[..., None], values - mean.to(values.dtype)[:, None, None, None], 0)
    distances = torch.linalg.vector_norm(differences.flatten(2), dim=2).double()
    return mean, subset.mean(distances.square() / sizes)


def masked_fraction(flags: Tensor, subset: Subset) -> Tensor:
    """Mean [E] in float64 of flags or shares [E, n] over the unpadded points; of flags exactly 1 if all are set."""
    return flags.where(subset.mask, 0).sum(1).double() / subset.mask.sum(1)
