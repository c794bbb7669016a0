"""The interface of a fitted compressor: a map from rows to few coordinates and its reconstruction error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Fitted(Protocol):
    """A compressor after its fit."""

    @property
    def linear(self) -> bool:
        """Whether the map is affine, so that known noise stays Gaussian with a known covariance."""
        ...

    @property
    def matrix(self) -> Tensor | None:
        """Matrix of the affine map [..., dim, D]; None if the map is not affine."""
        ...

    @property
    def error(self) -> Tensor:
        """Mean squared error of the reconstruction [...], per coordinate of x, over the rows of the fit."""
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """Coordinates [..., N, dim] float64 of rows [..., N, D]."""
        ...


@dataclass(frozen=True)
class LinearCode:
    """An affine map: (x - mean) times the transposed matrix.

    Attributes:
        mean: [..., D].
        matrix: [..., dim, D]; a row of zeros stands for a dropped direction and gives a constant coordinate.
        error: mean squared error of the best linear reconstruction [...], per coordinate of x.
        kept: number of directions that were not dropped [...] int.
    """

    mean: Tensor
    matrix: Tensor
    error: Tensor
    kept: Tensor

    @property
    def linear(self) -> bool:
        """Always True."""
        return True

    def __call__(self, x: Tensor) -> Tensor:
        """Coordinates [..., N, dim] float64 of rows [..., N, D]."""
        return (x.double() - self.mean.unsqueeze(-2)) @ self.matrix.mT
