"""The learning rate in use."""

from dataclasses import dataclass

from torch import Tensor

from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation


@dataclass(frozen=True)
class LearningRate(Metric):
    """`lr`: learning rate of each member in the next update, after the schedule."""

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Learning rate [E]."""
        return {"lr": seen.learning_rate}


GROUP = "metrics"
CHOICES = {"learning_rate": LearningRate}
