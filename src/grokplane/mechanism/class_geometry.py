"""Geometry of class means: their distances, and how close they are to a simplex (neural collapse, NC2).

Papyan, Han and Donoho 2020, "Prevalence of neural collapse during the terminal phase of deep learning training".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

# Values of pairs of classes are computed for so many pairs at once.
PAIRS = 2**22


def mean_distance(means: Tensor, present: Tensor) -> Tensor:
    """Mean distance [E] between the means [E, C, F] of two distinct classes, of those present [E, C]."""

    def distances(part: slice) -> Tensor:
        return torch.cdist(means[:, part], means, compute_mode="donot_use_mm_for_euclid_dist")

    return _mean_over_pairs(distances, present)


def from_their_centre(means: Tensor, present: Tensor) -> Tensor:
    """Class means [E, C, F] less the mean of the class means that are present [E, C]."""
    real = present[..., None]
    return means - torch.where(real, means, 0).sum(1, keepdim=True) / real.sum(1, keepdim=True)


def norm_variation(centred: Tensor, present: Tensor) -> Tensor:
    """Standard deviation over mean [E] of the norms of centred class means [E, C, F]; 0 for a simplex."""
    norms, count = torch.linalg.vector_norm(centred, dim=2), present.sum(1)
    mean = torch.where(present, norms, 0).sum(1) / count
    squares = torch.where(present, norms - mean[:, None], 0).square().sum(1) / count
    return squares.sqrt() / mean


def angles(centred: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines of the pairs of distinct centred class means [E, C, F], of C' classes that are present [E, C].

    Returns:
        Their standard deviation [E] and the mean [E] of their absolute differences to -1 / (C' - 1). Both are 0 for a
        simplex.
    """
    unit = centred / torch.linalg.vector_norm(centred, dim=2, keepdim=True)
    simplex = 1 / (present.sum(1) - 1).double()

    def differences(part: slice) -> Tensor:
        return unit[:, part] @ unit.mT + simplex[:, None, None]

    # Of differences to the simplex, whose squares are small where the variance is.
    mean = _mean_over_pairs(differences, present)
    variance = _mean_over_pairs(lambda part: (differences(part) - mean[:, None, None]).square(), present)
    return variance.sqrt(), _mean_over_pairs(lambda part: differences(part).abs(), present)


def _mean_over_pairs(values: Callable[[slice], Tensor], present: Tensor) -> Tensor:
    """Mean [E] over ordered pairs of distinct classes that are present [E, C]; NaN if there is no pair.

    Args:
        values: returns values [E, c, C] of the pairs of a part of the classes with all classes.
        present: which classes have points.
    """
    count, everyone = present.sum(1), torch.arange(present.shape[1], device=present.device)
    total = torch.zeros(len(present), dtype=torch.float64, device=present.device)
    for part in _parts(*present.shape):
        pairs = present[:, part, None] & present[:, None] & (everyone[part, None] != everyone)
        total = total + torch.where(pairs, values(part), 0).flatten(1).sum(1)
    return total / (count * (count - 1))


def _parts(members: int, classes: int) -> Iterator[slice]:
    """Slices of the classes with at most `PAIRS` pairs of all members, and with at least one class."""
    size = max(1, PAIRS // (members * classes))
    yield from (slice(start, start + size) for start in range(0, classes, size))
