"""Outputs as functions of the first operand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from grokplane.answers import Reads
from grokplane.metrics.elements import elements, pair_questions, picked
from grokplane.metrics.metric import Array, LoggedSeldom
from grokplane.metrics.observation import Observation
from grokplane.options import ConfigError, checked, option


@dataclass(frozen=True)
@checked
class LogitSlices(LoggedSeldom):
    """`slices`: the outputs of the questions (x, c) for all elements x, at some fixed elements c.

    The figure `logit_components` shows their first two principal components.
    """

    reads: ClassVar[Reads] = "labels"
    needs_group: ClassVar[bool] = True

    fixed: list[int] = option([1, 2, 3], "elements c, the second operand; by number in the group", at_least=0)

    def __call__(self, seen: Observation) -> dict[str, Array]:
        """Outputs [E, len(fixed), n, C] float32, NaN where a pair is no question, the elements c and `orders`."""
        own = elements(seen)
        index = pair_questions(seen, own, "logit_slices").unflatten(1, (own.order, own.order))
        if max(self.fixed, default=0) >= own.order:
            raise ConfigError("metrics.logit_slices.fixed", self.fixed, f"elements are 0 to {own.order - 1}")
        fixed = torch.tensor(self.fixed, dtype=torch.long, device=index.device)
        chosen = index[:, :, fixed].mT.flatten(1)
        outputs = picked(seen.table_outputs, chosen).unflatten(1, (len(fixed), own.order))
        return {
            "slices": Array(outputs),
            "slice_elements": Array(fixed.expand(len(index), -1)),
            "slice_orders": Array(own.orders),
        }


GROUP = "metrics"
CHOICES = {"logit_slices": LogitSlices}
