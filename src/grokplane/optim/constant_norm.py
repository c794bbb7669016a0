"""Training with a constant global norm of the weights: Liu et al. 2023, "Omnigrok" (arXiv 2210.01117), section 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.optim.base import broadcast_members
from grokplane.optim.rules import Context, Rule, member_norms
from grokplane.options import checked, option


@dataclass(frozen=True)
@checked
class ConstantNorm:
    """After every update, scale all parameters so that their global L2 norm is alpha times the initial norm."""

    alpha: float = option(1.0, "norm to keep, as a multiple of the initial norm", above=0, stackable=True)

    @classmethod
    def stacked(cls, choices: Sequence[ConstantNorm], context: Context) -> Rule:
        """The constraint of a stack."""
        return _ConstantNorm(choices, context)


class _ConstantNorm(Rule):
    """The norm [E] that is held is one of the initial weights, see `Rule.initial`."""

    capturable = True

    def __init__(self, choices: Sequence[ConstantNorm], context: Context) -> None:
        super().__init__(context)
        start = self._norm()
        self._alpha = torch.tensor([choice.alpha for choice in choices], dtype=start.dtype, device=start.device)
        self._held = start * self._alpha
        self.initial = {"held": {"norm": self._held}}

    def begin(self) -> None:
        """Hold the norm of the present weights."""
        self._held.copy_(self._norm() * self._alpha)

    def after(self, step: int) -> None:  # noqa: ARG002 (the rule's arguments)
        """Scale every parameter."""
        scale_to(self._held, list(self.parameters.values()))

    def _norm(self) -> Tensor:
        return member_norms([value.detach() for value in self.parameters.values()])


def scale_to(norm: Tensor, values: Sequence[Tensor]) -> None:
    """Scale tensors [E, ...] in place so that each member's L2 norm over all of them is `norm` [E]; zeros stay zero."""
    now = member_norms([value.detach() for value in values])
    scale = torch.where(now > 0, norm / now, 1)
    for value in values:
        value.mul_(broadcast_members(scale, value))


GROUP = "rules"
CHOICES = {"constant_norm": ConstantNorm}
