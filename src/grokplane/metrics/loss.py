"""Training loss of each subset and group."""

from dataclasses import dataclass

from torch import Tensor

from grokplane.metrics.metric import LoggedAlways
from grokplane.metrics.observation import Observation


@dataclass(frozen=True)
class Loss(LoggedAlways):
    """`Loss/{train,test,ood}` and `Loss/<group>`: mean over points of the training loss, in the unit of that loss."""

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Mean loss [E] by split and group."""
        return {f"Loss/{split}": subset.mean(subset.losses) for split, subset in seen.scored.items()}


GROUP = "metrics"
CHOICES = {"loss": Loss}
