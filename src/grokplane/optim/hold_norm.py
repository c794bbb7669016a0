"""Training with a norm of the weights that is held from the step at which the rule begins.

Source: the constraint of Liu et al. 2023, "Omnigrok" (arXiv 2210.01117), applied after memorisation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.optim.constant_norm import scale_to
from grokplane.optim.rules import Context, Rule, member_norms
from grokplane.options import ConfigError, checked, option

NOT_YET = -1.0  # in place of a norm that is not measured yet


@dataclass(frozen=True)
@checked
class HoldNorm:
    """After every update, scale the weights to a multiple of their norm before the first update, or to a given norm."""

    scale: float = option(1.0, "norm to hold, as a multiple of the norm at the start", above=0, stackable=True)
    norm: float | None = option(None, "norm to hold; null: by scale", above=0, stackable=True)
    layers: list[str] | None = option(
        None, "layers, or roles such as weight, whose norm together is held; null: all parameters"
    )

    def __post_init__(self) -> None:
        if self.norm is not None and self.scale != 1:
            allowed = "needs rules.hold_norm.norm=null: the norm is given by one of the two keys"
            raise ConfigError("rules.hold_norm.scale", self.scale, allowed)

    @classmethod
    def stacked(cls, choices: Sequence[HoldNorm], context: Context) -> Rule:
        """The constraint of a stack.

        Raises:
            ConfigError: a layer that the network does not have.
        """
        return _HoldNorm(choices, context)


class _HoldNorm(Rule):
    """The memory holds each member's norm [E] at the first step of the rule, which the seed need not determine."""

    capturable = True

    def __init__(self, choices: Sequence[HoldNorm], context: Context) -> None:
        super().__init__(context)
        layers = choices[0].layers
        names = list(self.parameters) if layers is None else context.selected("rules.hold_norm.layers", layers)
        self._values = [self.parameters[name] for name in names]
        like = self._values[0]

        def numbers(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=like.dtype, device=like.device)

        self._scale = numbers([choice.scale for choice in choices])
        self._given = numbers([NOT_YET if choice.norm is None else choice.norm for choice in choices])
        self._start = numbers([NOT_YET for _ in choices])
        self.memory = {"start": {"norm": self._start}}
        self._carried = torch.tensor([*context.carried] or [False] * len(choices), device=like.device)
        self._measured = False

    def begin(self) -> None:
        """Forget the norm, except for members that go on with the memory of another run."""
        self._start.copy_(torch.where(self._carried, self._start, NOT_YET))
        self._measured = False

    def carry(self, states: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> None:
        """See `Rule`."""
        super().carry(states)
        self._measured = False

    @torch.no_grad()
    def at(self, step: int) -> None:  # noqa: ARG002 (the rule's arguments)
        """Measure the norm of members that have none yet."""
        if not self._measured:
            self._start.copy_(torch.where(self._start < 0, member_norms(self._values), self._start))
            self._measured = True

    def after(self, step: int) -> None:  # noqa: ARG002 (the rule's arguments)
        """Scale the weights."""
        scale_to(torch.where(self._given < 0, self._start * self._scale, self._given), self._values)


GROUP = "rules"
CHOICES = {"hold_norm": HoldNorm}
