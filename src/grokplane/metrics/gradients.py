"""Statistics of the gradient of each parameter."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation
from grokplane.metrics.reduce import flat


@dataclass(frozen=True)
class Gradients(Metric):
    """`grad_{mean,var,norm,cos}_<role>/<layer>`: statistics of the gradient of `Loss/train` on the whole subset.

    Rules such as gradient filters are not applied to the gradient.
    """

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
    """Statistics [E] of one gradient [E, ...] and its weights [E, ...]; the cosine is NaN if either is all zero.

    Computed in float64, because the squares of small gradients late in training underflow in float32.
    """
    gradient, weights = flat(gradient).double(), flat(weights).double()
    variance, mean = torch.var_mean(gradient, dim=1, correction=0)
    norm = torch.linalg.vector_norm(gradient, dim=1)
    cosine = torch.linalg.vecdot(gradient, weights, dim=1) / norm / torch.linalg.vector_norm(weights, dim=1)
    return {"mean": mean, "var": variance, "norm": norm, "cos": cosine}


GROUP = "metrics"
CHOICES = {"gradients": Gradients}
