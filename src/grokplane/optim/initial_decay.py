"""Decoupled weight decay toward the initial weights (L2-SP: Li et al. 2018, with the initial weights as reference)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grokplane.optim.base import Factor, per_member
from grokplane.optim.rules import Context, Rule
from grokplane.options import checked, option


@dataclass(frozen=True)
@checked
class InitialDecay:
    """Pull every parameter toward its initial value before the optimizer: w <- w - lr strength (w - w_0)."""

    strength: float = option(1.0, "decay, times lr at each step", at_least=0, stackable=True)

    @classmethod
    def stacked(cls, choices: Sequence[InitialDecay], context: Context) -> Rule:
        """The rule of a stack."""
        return _InitialDecay(choices, context)


class _InitialDecay(Rule):
    """The initial weights are copied, see `Rule.initial`."""

    capturable = True

    def __init__(self, choices: Sequence[InitialDecay], context: Context) -> None:
        super().__init__(context)
        self._start = {name: value.detach().clone() for name, value in self.parameters.items()}
        self.initial = {"start": self._start}
        self._decay = {}
        for name, value in self.parameters.items():
            pairs = zip(context.rates(name), choices, strict=True)
            self._decay[name] = per_member([rate * choice.strength for rate, choice in pairs], value)

    def begin(self) -> None:
        """Copy the present weights."""
        for name, value in self.parameters.items():
            self._start[name].copy_(value.detach())

    def before(self, step: int, factor: Factor) -> None:  # noqa: ARG002 (the rule's arguments)
        """Pull every parameter."""
        for name, value in self.parameters.items():
            value.lerp_(self._start[name], factor * self._decay[name])


GROUP = "rules"
CHOICES = {"initial_decay": InitialDecay}
