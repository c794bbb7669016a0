"""Gaussian noise on the weights: only during the backward pass, or permanently after every update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from grokplane.optim.base import per_member
from grokplane.optim.rules import Backward, Context, Rule, restored
from grokplane.options import checked, option
from grokplane.random import Counters


@dataclass(frozen=True)
@checked
class WeightNoise:
    """Compute loss and gradient at noisy weights, then update the clean weights (Graves 2011, "synaptic noise")."""

    sigma: float = option(0.01, "standard deviation of the noise", at_least=0, stackable=True)

    @classmethod
    def stacked(cls, choices: Sequence[WeightNoise], context: Context) -> Rule:
        """The rule of a stack."""
        return _WeightNoise(choices, context, "weight noise")


@dataclass(frozen=True)
@checked
class UpdateNoise:
    """Add noise to every parameter after every update, as in Langevin dynamics."""

    sigma: float = option(0.001, "standard deviation of the noise in one step", at_least=0, stackable=True)

    @classmethod
    def stacked(cls, choices: Sequence[UpdateNoise], context: Context) -> Rule:
        """The rule of a stack."""
        return _UpdateNoise(choices, context, "update noise")


class _Noise(Rule):
    capturable = True

    def __init__(self, choices: Sequence[WeightNoise | UpdateNoise], context: Context, stream: str) -> None:
        super().__init__(context)
        sigmas = [choice.sigma for choice in choices]
        self._sigma = {name: per_member(sigmas, value) for name, value in self.parameters.items()}
        self._counters = {name: Counters(context.seeds, f"{stream} {name}") for name in self.parameters}

    def at(self, step: int) -> None:
        """Prepare the step's random numbers."""
        for counters in self._counters.values():
            counters.at(step)

    def add(self, step: int) -> None:
        """Add this step's noise to every parameter in place."""
        with torch.no_grad():
            for name, value in self.parameters.items():
                noise = self._counters[name].normal(step, value.shape[1:], value.device).to(value.dtype)
                value.addcmul_(noise, self._sigma[name])


class _WeightNoise(_Noise):
    def around(self, step: int, backward: Backward) -> Backward:
        """The backward pass at noisy weights."""
        return lambda: restored(self.parameters, lambda: self.add(step), backward)


class _UpdateNoise(_Noise):
    def after(self, step: int) -> None:
        """Add noise to the weights."""
        self.add(step)


GROUP = "rules"
CHOICES = {"weight_noise": WeightNoise, "update_noise": UpdateNoise}
