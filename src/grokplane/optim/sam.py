"""Sharpness-aware minimisation: Foret et al. 2021 (arXiv 2010.01412)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.optim.base import broadcast_members
from grokplane.optim.rules import Backward, Context, Rule, gradients, member_norms, restored
from grokplane.options import checked, option

TINY = 1e-12


@dataclass(frozen=True)
@checked
class SAM:
    """Use the gradient at w + rho g / |g|, the worst nearby point, with g the gradient at w; two passes per step."""

    rho: float = option(0.05, "length of the ascent step, over all parameters of a member", at_least=0, stackable=True)

    @classmethod
    def stacked(cls, choices: Sequence[SAM], context: Context) -> Rule:
        """The rule of a stack."""
        return _SAM(choices, context)


class _SAM(Rule):
    capturable = True

    def __init__(self, choices: Sequence[SAM], context: Context) -> None:
        super().__init__(context)
        like = next(iter(self.parameters.values()))
        self._rho = torch.tensor([choice.rho for choice in choices], dtype=like.dtype, device=like.device)

    def around(self, step: int, backward: Backward) -> Backward:  # noqa: ARG002 (the rule's arguments)
        """Two backward passes; the loss is that of the first."""

        def twice() -> Tensor:
            losses = backward()
            restored(self.parameters, self._climb, backward)
            return losses

        return twice

    def _climb(self) -> None:
        slopes = gradients(self.parameters)
        scale = self._rho / (member_norms(list(slopes.values())) + TINY)
        for name, gradient in slopes.items():
            self.parameters[name].addcmul_(gradient, broadcast_members(scale, gradient))
            self.parameters[name].grad = None


GROUP = "rules"
CHOICES = {"sam": SAM}
