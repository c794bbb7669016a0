"""Frozen parameters: layers that training does not change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.optim.base import broadcast_members
from grokplane.optim.rules import Context, Rule
from grokplane.options import checked, option

KEY = "rules.freeze.layers"


@dataclass(frozen=True)
@checked
class Freeze:
    """Restore the parameters of some layers after every update, bit for bit; weight decay does not change them."""

    layers: list[str] = option(
        ["embedding"], "layers, or roles in all layers such as bias, that keep their values", stackable=True
    )

    @classmethod
    def stacked(cls, choices: Sequence[Freeze], context: Context) -> Rule:
        """The rule of a stack.

        Raises:
            ConfigError: a layer that the network does not have.
        """
        return _Freeze([context.selected(KEY, choice.layers) for choice in choices], context)


class _Freeze(Rule):
    """Copies of the parameters that any member freezes. A checkpoint has them among the weights.

    Args:
        names: the names of each member's frozen parameters.
        context: see `Context`.
    """

    capturable = True

    def __init__(self, names: Sequence[Sequence[str]], context: Context) -> None:
        super().__init__(context)
        frozen = [name for name in self.parameters if any(name in own for own in names)]
        self._kept = {name: self.parameters[name].detach().clone() for name in frozen}
        self._of = {
            name: torch.tensor([name in own for own in names], device=value.device)
            for name, value in self._kept.items()
        }

    def begin(self) -> None:
        """Copy the present weights."""
        for name, kept in self._kept.items():
            kept.copy_(self.parameters[name].detach())

    def load_states(self, states: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> None:
        """Copy the weights, which have been restored before."""
        super().load_states(states)
        self.begin()

    def after(self, step: int) -> None:  # noqa: ARG002 (the rule's arguments)
        """Restore the frozen parameters of each member."""
        for name, kept in self._kept.items():
            value = self.parameters[name]
            value.copy_(torch.where(broadcast_members(self._of[name], value), kept, value))


GROUP = "rules"
CHOICES = {"freeze": Freeze}
