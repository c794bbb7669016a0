"""Extremes over the steps between log points, kept on the device for the metric `spikes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from grokplane.optim.rules import member_norms

STATE = "tracked"  # entry of a checkpoint
# What an extreme is before the first step: fmax and fmin ignore NaN.
EXTREMES = {"update_norm": torch.fmax, "last_norm": torch.fmax, "loss": torch.fmax, "accuracy": torch.fmin}
COUNTS = ("steps", "jumps")
PREVIOUS = "previous"  # the loss of the last step, which outlives log points


class Tracker:
    """Running extremes of E members. Nothing is read from the device between log points.

    Values of a log point stay until the next update, because a resumed run logs the step of its checkpoint again.

    Args:
        parameters: the stack's parameters [E, ...].
        last: those of the last layer.
        jump: a loss above this many times the loss of the step before counts as a jump.
        alive: members that are still updated [E], bool, changed in place.

    Attributes:
        values: by name [E] float64: the largest norm of an update (`update_norm`), the largest norm of the last layer
            after an update (`last_norm`), the largest loss and the lowest accuracy of a batch (`loss`, `accuracy`),
            NaN before the first step; the number of steps and of jumps of the loss (`steps`, `jumps`).
        read: whether a log point has read the values, so that the next update starts anew.
    """

    def __init__(self, parameters: Sequence[Tensor], last: Sequence[Tensor], jump: float, alive: Tensor) -> None:
        self._parameters, self._last, self._jump, self._alive = parameters, last, jump, alive
        self._before = [torch.empty_like(value) for value in parameters]
        self.values = {name: self._empty(torch.nan) for name in (*EXTREMES, PREVIOUS)}
        self.values |= {name: self._empty(0.0) for name in COUNTS}
        self._loss, self._accuracy = self._empty(torch.nan), self._empty(torch.nan)
        self.read = False

    def _empty(self, value: float) -> Tensor:
        return torch.full((len(self._alive),), value, dtype=torch.float64, device=self._alive.device)

    def start(self) -> None:
        """Forget the values that a log point has read."""
        if self.read:
            for name, value in self.values.items():
                if name != PREVIOUS:
                    value.fill_(0.0 if name in COUNTS else torch.nan)
        self.read = False

    @torch.no_grad()
    def before(self) -> None:
        """Remember the parameters before an update."""
        for kept, value in zip(self._before, self._parameters, strict=True):
            kept.copy_(value)
        self._accuracy.fill_(torch.nan)

    def batch(self, accuracies: Tensor) -> None:
        """Take each member's accuracy [E] in the first forward pass of the step."""
        self._accuracy.copy_(torch.where(self._accuracy.isnan(), accuracies.double(), self._accuracy))

    def losses(self, losses: Tensor) -> None:
        """Take each member's loss [E] of the step."""
        self._loss.copy_(losses)

    @torch.no_grad()
    def after(self) -> None:
        """Take up an update; members that are over keep their values."""
        moved = [value - kept for value, kept in zip(self._parameters, self._before, strict=True)]
        step = {
            "update_norm": member_norms(moved),
            "last_norm": member_norms(self._last),
            "loss": self._loss,
            "accuracy": self._accuracy,
        }
        for name, extreme in EXTREMES.items():
            self._set(name, extreme(self.values[name], step[name].double()))
        self._set("steps", self.values["steps"] + 1)
        self._set("jumps", self.values["jumps"] + (self._loss > self._jump * self.values[PREVIOUS]))
        self._set(PREVIOUS, self._loss)

    def _set(self, name: str, values: Tensor) -> None:
        self.values[name].copy_(torch.where(self._alive, values, self.values[name]))

    def state(self, row: int) -> dict[str, dict[str, float]]:
        """The values of a member, as an entry of its checkpoint."""
        return {STATE: {name: float(value[row]) for name, value in self.values.items()}}

    def load_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Restore the values from checkpoints; members whose checkpoints have none start anew."""
        for name, value in self.values.items():
            none = 0.0 if name in COUNTS else torch.nan
            value.copy_(torch.tensor([state.get(STATE, {}).get(name, none) for state in states], dtype=torch.float64))
