"""Principal components as a compressor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.mi.base import samples
from grokplane.mi.compress.base import LinearCode
from grokplane.options import check_options, option

TRACY_WIDOM_99 = 2.0234  # 99% point of the Tracy-Widom law of order 1


@dataclass(frozen=True)
class PCA:
    """The `dim` directions of largest variance, centred and optionally whitened to unit variance.

    A direction that contains only noise is dropped, because whitening would amplify the noise to unit variance. Its
    coordinate is constant zero, which estimators leave out. A direction is dropped unless its sample variance (divisor
    N - 1) exceeds all of the following: (1) round-off, max(N, D) times the machine epsilon times the largest variance;
    (2) the square of 8 epsilon times the largest absolute value in x; (3) `noise_variance` times the 99% point of the
    largest sample variance of pure white noise of variance 1 in N rows of D columns (Johnstone 2001, "On the
    distribution of the largest eigenvalue in principal components analysis", theorem 1.1). The sign of a direction is
    chosen so that its entry of largest absolute value is positive.

    The mutual information of the coordinates is at most that of x (data processing), with equality if the dropped
    directions carry no information.
    """

    dim: int = option(4, "number of coordinates", at_least=1)
    whiten: bool = option(False, "scale every coordinate that is kept to unit variance")
    noise_variance: float = option(0.0, "variance of known white noise in every column", at_least=0)

    def __post_init__(self) -> None:
        check_options(self)

    def fit(self, x: Tensor) -> LinearCode:
        """Fit min(`dim`, D) directions to the rows x [..., N, D]."""
        x = samples(x)
        count, columns = x.shape[-2:]
        mean = x.mean(-2)
        centred = x - mean.unsqueeze(-2)
        variance, direction = torch.linalg.eigh(centred.mT @ centred / (count - 1))
        total = variance.clamp_min(0).sum(-1)
        top = min(self.dim, columns)
        variance, direction = variance.flip(-1)[..., :top], _signed(direction.flip(-1)[..., :top].mT)
        keep = variance > self._floor(x, variance[..., :1])
        kept_variance = torch.where(keep, variance, 0)
        error = (total - kept_variance.sum(-1)).clamp_min(0) * (count - 1) / count / columns
        scale = torch.where(keep, variance, 1).rsqrt() if self.whiten else torch.ones_like(variance)
        matrix = direction * torch.where(keep, scale, 0).unsqueeze(-1)
        return LinearCode(mean, matrix, error, keep.sum(-1))

    def _floor(self, x: Tensor, largest: Tensor) -> Tensor:
        epsilon = torch.finfo(x.dtype).eps
        round_off = max(x.shape[-2:]) * epsilon * largest.clamp_min(0)
        smallest = (8 * epsilon * x.abs().amax((-2, -1)).unsqueeze(-1)).square()
        return torch.maximum(round_off, smallest).clamp_min(self.noise_variance * noise_edge(*x.shape[-2:]))


def noise_edge(count: int, columns: int) -> float:
    """99% point of the largest sample variance over all directions, for unit white noise in N rows of D columns.

    (mu + 2.0234 sigma) / n with n = N - 1 (the mean takes one degree of freedom), mu = (sqrt(n - 1) + sqrt(D))^2 and
    sigma = (sqrt(n - 1) + sqrt(D)) (1/sqrt(n - 1) + 1/sqrt(D))^(1/3): Johnstone 2001, theorem 1.1.
    """
    tall, wide = max(count - 2, 1) ** 0.5, columns**0.5
    spread = (tall + wide) * (1 / tall + 1 / wide) ** (1 / 3)
    return ((tall + wide) ** 2 + TRACY_WIDOM_99 * spread) / (count - 1)


def _signed(direction: Tensor) -> Tensor:
    """Directions [..., dim, D] with signs that make the entry of largest absolute value positive."""
    at = direction.abs().argmax(-1, keepdim=True)
    return direction * direction.gather(-1, at).sign()
