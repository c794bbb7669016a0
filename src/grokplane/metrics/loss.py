"""Training loss of each subset."""

from dataclasses import dataclass

from torch import Tensor

from grokplane.metrics.observation import Observation


@dataclass(frozen=True)
class Loss:
    """`Loss/{train,test}`: the loss that is trained, averaged over the whole subset; in that loss's unit."""

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Mean loss [E] by split."""
        return {f"Loss/{split}": subset.mean(subset.losses) for split, subset in seen.splits.items()}


GROUP = "metrics"
CHOICES = {"loss": Loss}
