"""Spikes between log points: what evaluations at log points do not see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation
from grokplane.options import option


@dataclass(frozen=True)
class Spikes(Metric):
    """Extremes over all updates since the metric was last logged.

    `spike_update_norm` and `spike_last_norm`: the largest L2 norm of an update of all parameters, and of the last layer
    after an update. `spike_loss` and `spike_accuracy`: the largest loss and the lowest accuracy of a batch in training.
    `spike_jumps`: the share of updates whose loss was more than `jump` times that of the update before.
    """

    tracks: ClassVar[bool] = True

    jump: float = option(2.0, "a loss above this many times the loss of the step before is a jump", above=1)

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Values [E] in float64; NaN (null) at the first log point of a run."""
        tracked = seen.tracked
        share = tracked["jumps"] / torch.where(tracked["steps"] == 0, torch.nan, tracked["steps"])
        extremes = {name: tracked[name] for name in ("update_norm", "last_norm", "loss", "accuracy")}
        return {f"spike_{name}": value.clone() for name, value in extremes.items()} | {"spike_jumps": share}


GROUP = "metrics"
CHOICES = {"spikes": Spikes}
