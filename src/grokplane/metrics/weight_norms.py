"""L2 norms of the parameters."""

from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation
from grokplane.metrics.reduce import l2_norm


@dataclass(frozen=True)
class WeightNorms(Metric):
    """`WN/<layer>`: norm of a layer's weight and bias; `WN/total`: sum over layers; `WN/global`: all parameters."""

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Norms [E] by layer, their sum, and the norm of the vector of all parameters."""
        layers = {f"WN/{layer}": l2_norm(roles.values()) for layer, roles in seen.parameters.items()}
        total = torch.stack(list(layers.values())).sum(0)
        return {**layers, "WN/total": total, "WN/global": l2_norm(seen.all_parameters.values())}


GROUP = "metrics"
CHOICES = {"weight_norms": WeightNorms}
