"""Linear probes: a classifier by ridge regression from the activations of a layer to one-hot labels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from grokplane.mechanism.centring import centred

# Scores approximate 0 and 1. Those that differ less are equal but for round-off, as for classes with equal points.
TIE = 1e-9


class Probe(NamedTuple):
    """A linear classifier: the class of a point h is the largest entry of prior + (h - mean) coefficients.

    Attributes:
        mean: mean of the training points [E, 1, F].
        coefficients: [E, F, C].
        prior: share of each class in training [E, 1, C].
    """

    mean: Tensor
    coefficients: Tensor
    prior: Tensor

    def classes(self, values: Tensor) -> Tensor:
        """Predicted class [E, n] of points [E, n, F]: the first one whose score is the largest, up to `TIE`."""
        scores = self.prior + (values.double() - self.mean) @ self.coefficients
        return (scores >= scores.amax(2, keepdim=True) - TIE).byte().argmax(2)


def ridge_probe(values: Tensor, labels: Tensor, mask: Tensor, classes: int, ridge: float) -> Probe:
    """Minimise sum_i |b + B h_i - one_hot(y_i)|^2 + lambda |B|^2 over b and B, in closed form in float64.

    Args:
        values: points h [E, n, F].
        labels: their classes [E, n], valid also for padding.
        mask: points that are not padding [E, n].
        classes: number of classes C.
        ridge: lambda in units of the mean over units of sum_i (h_i - mean)^2.
    """
    around, real = centred(values, mask), mask[..., None].double()
    points = around.values
    wanted = points.new_zeros(*labels.shape, classes).scatter_(2, labels[..., None], real)
    strength = ridge * points.square().sum((1, 2)) / points.shape[2]
    strength = torch.where(strength == 0, 1, strength)[:, None, None]  # all points are equal
    if points.shape[1] < points.shape[2]:  # H'(HH' + lambda)^-1 Y
        coefficients = points.mT @ _solved(points @ points.mT, strength, wanted)
    else:  # (H'H + lambda)^-1 H'Y
        coefficients = _solved(points.mT @ points, strength, points.mT @ wanted)
    return Probe(around.mean, coefficients, wanted.sum(1, keepdim=True) / real.sum(1, keepdim=True))


def _solved(gram: Tensor, strength: Tensor, right: Tensor) -> Tensor:
    """(gram + strength)^-1 right, for a symmetric [E, k, k]; meaningless for a member that is not finite."""
    identity = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    factor, _ = torch.linalg.cholesky_ex(gram + strength * identity)
    return torch.cholesky_solve(right, factor)
