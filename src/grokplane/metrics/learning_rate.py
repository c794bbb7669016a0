"""The learning rate in use."""

from dataclasses import dataclass

from torch import Tensor

from grokplane.metrics.observation import Observation


@dataclass(frozen=True)
class LearningRate:
    """`lr`: each member's learning rate in the update that follows, after the schedule."""

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """The rate [E]."""
        return {"lr": seen.learning_rate}


GROUP = "metrics"
CHOICES = {"learning_rate": LearningRate}
