"""OrthoGrad: Prieto et al. 2025, "Grokking at the Edge of Numerical Stability" (arXiv 2501.04697), section 5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from grokplane.optim.base import Factor
from grokplane.optim.rules import Context, Rule, gradients

TINY = 1e-30
ROUND_OFF = 100  # in units of the machine epsilon


@dataclass(frozen=True)
class OrthoGrad:
    """Remove from each parameter's gradient the component along the parameter, and restore the gradient's length.

    A gradient that is parallel to its parameter, such as that of a single number, becomes zero.
    """

    @classmethod
    def stacked(cls, choices: Sequence[OrthoGrad], context: Context) -> Rule:  # noqa: ARG003 (it has no options)
        """The filter of a stack."""
        return _OrthoGrad(context)


class _OrthoGrad(Rule):
    """g <- (g - (w.g / w.w) w), rescaled to the length of g; w is a whole parameter of one member."""

    capturable = True

    def before(self, step: int, factor: Factor) -> None:  # noqa: ARG002 (the rule's arguments)
        """Filter every gradient."""
        for name, gradient in gradients(self.parameters).items():
            g, w = gradient.flatten(1), self.parameters[name].detach().flatten(1)
            # Not vecdot: its last bits depend on the number of members.
            share = (w * g).sum(1) / (w.square().sum(1) + TINY)
            rest = g - share[:, None] * w
            length, left = g.norm(dim=1), rest.norm(dim=1)
            # The rest of a gradient that is parallel to the weights is round-off, which must not be rescaled.
            scale = torch.where(left > ROUND_OFF * torch.finfo(g.dtype).eps * length, length / (left + TINY), 0)
            gradient.copy_((scale[:, None] * rest).view_as(gradient))


GROUP = "rules"
CHOICES = {"orthograd": OrthoGrad}
