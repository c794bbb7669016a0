"""Wall-clock time of a step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.metrics.observation import Observation


@dataclass(frozen=True)
class StepTime:
    """`time/seconds_per_step`: mean wall time, in seconds, of a step of the whole stack since the last log point."""

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """The time [E], the same for every member; nothing at the first log point, where no step has been timed."""
        if seen.seconds_per_step is None:
            return {}
        return {"time/seconds_per_step": torch.full_like(seen.learning_rate, seen.seconds_per_step)}


GROUP = "metrics"
CHOICES = {"step_time": StepTime}
