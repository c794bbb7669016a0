"""Singular values of the weights."""

from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.metrics.metric import Array, Metric
from grokplane.metrics.observation import Observation


@dataclass(frozen=True)
class Spectrum(Metric):
    """`singular_values_<role>/<layer>`: singular values of every weight matrix, descending; one array per log point."""

    def __call__(self, seen: Observation) -> dict[str, Array]:
        """Singular values [E, min(out, in)] in float64 by role and layer; kernels are flattened to [E, out, in]."""
        return {
            f"singular_values_{role}/{layer}": Array(_singular_values(weights.flatten(2).double()))
            for layer, roles in seen.parameters.items()
            for role, weights in roles.items()
            if weights.dim() > 2
        }


def _singular_values(matrices: Tensor) -> Tensor:
    """[E, m, n] -> [E, min(m, n)]; NaN for a member with values that are not finite, which LAPACK rejects."""
    finite = torch.isfinite(matrices).all(2).all(1)
    values = torch.linalg.svdvals(torch.where(finite[:, None, None], matrices, 0))
    return torch.where(finite[:, None], values, torch.nan)


GROUP = "metrics"
CHOICES = {"spectrum": Spectrum}
