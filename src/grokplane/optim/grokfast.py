"""Grokfast: Lee et al. 2024, "Grokfast: Accelerated Grokking by Amplifying Slow Gradients" (arXiv 2405.20233)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.optim.base import Factor, broadcast_members, per_member
from grokplane.optim.rules import Context, Rule, gradients
from grokplane.options import checked, option
from grokplane.resources import check_fits


@dataclass(frozen=True)
@checked
class GrokfastEMA:
    """Add the exponential moving average of past gradients, times lamb, to the gradient (algorithm 2)."""

    alpha: float = option(0.98, "decay of the mean", at_least=0, below=1, stackable=True)
    lamb: float = option(2.0, "factor on the mean", at_least=0, stackable=True)

    @classmethod
    def stacked(cls, choices: Sequence[GrokfastEMA], context: Context) -> Rule:
        """The filter of a stack."""
        return _EMA(choices, context)


@dataclass(frozen=True)
@checked
class GrokfastMA:
    """Add the mean of the last `window` gradients, times lamb, as soon as there are that many (algorithm 1).

    Stores `window` gradients: that many times the memory of the parameters, also in every checkpoint.
    """

    window: int = option(100, "number of gradients that are averaged", at_least=1)
    lamb: float = option(5.0, "factor on the mean", at_least=0, stackable=True)

    @classmethod
    def stacked(cls, choices: Sequence[GrokfastMA], context: Context) -> Rule:
        """The filter of a stack."""
        return _MA(choices, context)


class _EMA(Rule):
    """mean <- alpha mean + (1 - alpha) g, with the first g as the first mean; g <- g + lamb mean.

    A member that carries the memory of another run has its first mean from there.
    """

    capturable = True

    def __init__(self, choices: Sequence[GrokfastEMA], context: Context) -> None:
        super().__init__(context)
        self.memory = {"mean": {name: torch.zeros_like(value) for name, value in self.parameters.items()}}
        alphas, lambs = [choice.alpha for choice in choices], [choice.lamb for choice in choices]
        self._rest = {name: 1 - per_member(alphas, value) for name, value in self.parameters.items()}
        self._lamb = {name: per_member(lambs, value) for name, value in self.parameters.items()}
        self._carried = list(context.carried) or [False] * len(context.seeds)

    def before(self, step: int, factor: Factor) -> None:  # noqa: ARG002 (the rule's arguments)
        """Filter every gradient."""
        first = [step == since and not carried for since, carried in zip(self.since, self._carried, strict=True)]
        for name, gradient in gradients(self.parameters).items():
            mean = self.memory["mean"][name]
            if all(first):
                mean.copy_(gradient)
            elif any(first):
                takes = broadcast_members(torch.tensor(first, device=mean.device), mean)
                mean.copy_(torch.where(takes, gradient, mean.lerp(gradient, self._rest[name])))
            else:
                mean.lerp_(gradient, self._rest[name])
            gradient.addcmul_(mean, self._lamb[name])


class _MA(Rule):
    """A ring buffer of gradients and their sum. The sum is recomputed in every round, so that round-off is bounded.

    The step says which slot is next and how many are filled, so no other run can go on with the buffer.
    """

    carries = False

    def __init__(self, choices: Sequence[GrokfastMA], context: Context) -> None:
        super().__init__(context)
        self._window = choices[0].window
        one = sum(value.numel() * value.element_size() for value in self.parameters.values())
        check_fits("rules.grokfast_ma.window", self._window, self._window, one, "a memory of {} gradients")
        lambs = [choice.lamb / self._window for choice in choices]
        self._factor = {name: per_member(lambs, value) for name, value in self.parameters.items()}
        self.memory = {
            "ring": {
                name: torch.zeros(len(value), self._window, *value.shape[1:], dtype=value.dtype, device=value.device)
                for name, value in self.parameters.items()
            },
            "sum": {name: torch.zeros_like(value) for name, value in self.parameters.items()},
        }

    def changing(self, step: int) -> list[Tensor]:
        """One slot of the ring buffer; a masked step copies only that slot."""
        slot = step % self._window
        return [ring[:, slot] for ring in self.memory["ring"].values()] + list(self.memory["sum"].values())

    def before(self, step: int, factor: Factor) -> None:  # noqa: ARG002 (the rule's arguments)
        """Filter every gradient."""
        slot = step % self._window
        full = [step >= since + self._window - 1 for since in self.since]
        for name, gradient in gradients(self.parameters).items():
            ring, total = self.memory["ring"][name], self.memory["sum"][name]
            total.sub_(ring[:, slot]).add_(gradient)
            ring[:, slot] = gradient
            if slot == self._window - 1:
                total.copy_(ring.sum(1))
            if all(full):
                gradient.addcmul_(total, self._factor[name])
            elif any(full):
                takes = broadcast_members(torch.tensor(full, device=total.device), total)
                gradient.addcmul_(torch.where(takes, total, 0), self._factor[name])


GROUP = "rules"
CHOICES = {"grokfast_ema": GrokfastEMA, "grokfast_ma": GrokfastMA}
