"""Statistics of each parameter's gradient."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.metrics.observation import Observation
from grokplane.metrics.reduce import flat


@dataclass(frozen=True)
class Gradients:
    """`grad_{mean,var,norm,cos}_<role>/<layer>`: of the unfiltered gradient of `Loss/train` on the whole subset."""

    needs_gradients: ClassVar[bool] = True

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Mean, population variance, L2 norm and cosine to the weights, each [E], by role and layer."""
        return {
            f"grad_{name}_{role}/{layer}": value
            for layer, roles in seen.gradients.items()
            for role, gradient in roles.items()
            for name, value in _statistics(gradient, seen.parameters[layer][role]).items()
        }


def _statistics(gradient: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Statistics [E] of one gradient [E, ...] and its weights [E, ...]; the cosine is NaN where either is all zero.

    In float64: late in training float32 gradients are so small that their squares underflow.
    """
    gradient, weights = flat(gradient).double(), flat(weights).double()
    variance, mean = torch.var_mean(gradient, dim=1, correction=0)
    norm = torch.linalg.vector_norm(gradient, dim=1)
    cosine = torch.linalg.vecdot(gradient, weights, dim=1) / norm / torch.linalg.vector_norm(weights, dim=1)
    return {"mean": mean, "var": variance, "norm": norm, "cos": cosine}


GROUP = "metrics"
CHOICES = {"gradients": Gradients}
