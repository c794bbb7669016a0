"""Number of units that are never active."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation, Subset
from grokplane.metrics.positions import scored_positions
from grokplane.metrics.reduce import flat


@dataclass(frozen=True)
class DeadNeurons(Metric):
    """`num_dead_nrns_{train,eval}/<layer>`: units (last axis) that are exactly 0 on every point of the subset."""

    needs_layers: ClassVar[bool] = True

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Number of dead units [E] by subset and layer, for layers whose activation can be exactly zero."""
        return {
            f"num_dead_nrns_{subset_name}/{layer}": _count(output.activations, subset)
            for subset_name, subset in seen.subsets.items()
            for layer, output in subset.layers.items()
            if output.exact_zeros
        }


def _count(activations: Tensor, subset: Subset) -> Tensor:
    """Number [E] of units of [E, n, ..., F] that are 0 at every position of every real point; NaN is not 0.

    Of answers that are sequences, the scored positions count.
    """
    scored, mask = scored_positions(activations, subset), subset.mask[..., None]
    positions = activations.flatten(2, -2) if activations.dim() > 3 else activations.unsqueeze(2)
    real = torch.where((mask if scored is None else mask & scored)[..., None], positions, 0)
    return flat(real.abs_().amax((1, 2)) == 0).sum(1)


GROUP = "metrics"
CHOICES = {"dead_neurons": DeadNeurons}
