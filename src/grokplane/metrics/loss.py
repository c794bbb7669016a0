"""Training loss of each subset."""

from dataclasses import dataclass

from torch import Tensor

from grokplane.metrics.observation import Observation


@dataclass(frozen=True)
class Loss:
    """`Loss/{train,test,unseen}`: mean over points of the training loss, in the unit of that loss.

    `unseen` covers the same questions as the metric `accuracy`.
    """

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Mean loss [E] by split."""
        return {f"Loss/{split}": subset.mean(subset.losses) for split, subset in seen.scored.items()}


GROUP = "metrics"
CHOICES = {"loss": Loss}
