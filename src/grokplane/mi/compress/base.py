"""What every compressor gives: a fitted map from rows to few coordinates, and what it loses."""

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
        """The affine map's matrix [..., dim, D]; None where the map is not affine."""
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
        matrix: [..., dim, D]; a row of zeros is a dropped direction and gives a constant coordinate.
        error: mean squared error of the best linear reconstruction [...], per coordinate of x.
        kept: directions that were not dropped, [...] int.
    """

    mean: Tensor
    matrix: Tensor
    error: Tensor
    kept: Tensor

    @property
    def linear(self) -> bool:
        """Always."""
        return True

    def __call__(self, x: Tensor) -> Tensor:
        """Coordinates [..., N, dim] float64 of rows [..., N, D]."""
        return (x.double() - self.mean.unsqueeze(-2)) @ self.matrix.mT
