"""Size of the model's outputs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation


@dataclass(frozen=True)
class LogitScale(Metric):
    """`logit_scale_{train,eval}`: mean over points of the L2 norm of the output vector, or over scored tokens first."""

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Mean norm [E] by subset."""
        return {
            f"logit_scale_{name}": subset.mean(subset.points(subset.answers.of_points(_norm), subset.real_targets))
            for name, subset in seen.subsets.items()
        }


def _norm(outputs: Tensor, _: Tensor) -> Tensor:
    return torch.linalg.vector_norm(outputs.flatten(2), dim=2)


GROUP = "metrics"
CHOICES = {"logit_scale": LogitScale}
