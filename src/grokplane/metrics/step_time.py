"""Wall-clock time of a step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation


@dataclass(frozen=True)
class StepTime(Metric):
    """`time/seconds_per_step`: mean wall time of a step of the whole stack since the last log point, in seconds."""

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Time [E], equal for all members; empty at the first log point, before any step was timed."""
        if seen.seconds_per_step is None:
            return {}
        return {"time/seconds_per_step": torch.full_like(seen.learning_rate, seen.seconds_per_step)}


GROUP = "metrics"
CHOICES = {"step_time": StepTime}
