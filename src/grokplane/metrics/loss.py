"""Training loss of each subset."""

from dataclasses import dataclass

from torch import Tensor

from grokplane.metrics.metric import LoggedAlways
from grokplane.metrics.observation import Observation


@dataclass(frozen=True)
class Loss(LoggedAlways):
    """`Loss/{train,test,unseen}`: the loss that is trained, averaged over the points; in that loss's unit.

    `unseen`: of the same questions as the accuracy's.
    """

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Mean loss [E] by split."""
        return {f"Loss/{split}": subset.mean(subset.losses) for split, subset in seen.scored.items()}


GROUP = "metrics"
CHOICES = {"loss": Loss}
