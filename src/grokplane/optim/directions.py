"""One torch.optim optimizer over all members of a stack, whatever their rates: few kernels for any number of members.

An update of torch.optim is the learning rate times a direction that the gradients give. So the optimizer runs at rate
1, without decay, on zeros: what it leaves there is minus the direction, of which every member takes its own rate's
share. A param group a member, as in `TorchGroups`, would start every kernel of the optimizer once a member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from grokplane.optim.base import Factor, MemberState, Parameters, StackedOptimizer, broadcast_members
from grokplane.optim.torch_groups import TorchGroups
from grokplane.optim.torch_options import TorchOptions

# What the optimizer itself runs with.
PER_MEMBER: dict[str, Any] = {"lr": 1.0, "weight_decay": 0.0}


class Directions(StackedOptimizer):
    """Updates E members, each as its own torch.optim optimizer would; its states are those of `TorchGroups`.

    Args:
        choices: one a member, of one class; they may differ in `lr` and `weight_decay`.
        parameters: the stack's parameters by name, [E, ...].
    """

    def __init__(self, choices: Sequence[TorchOptions], parameters: Parameters) -> None:
        rates, decays = ([one.options.get(key, 0.0) for one in choices] for key in PER_MEMBER)
        super().__init__(parameters, rates)
        self._decoupled = choices[0].decoupled
        self._decays = any(decays)
        self._factor: Factor = 1.0
        like = next(iter(self.parameters.values()))
        self._rate = torch.tensor(rates, dtype=like.dtype, device=like.device)
        self._decay = torch.tensor(decays, dtype=like.dtype, device=like.device)
        self._directions = {name: nn.Parameter(torch.zeros_like(value)) for name, value in self.parameters.items()}
        plain = {key: value for key, value in PER_MEMBER.items() if key in choices[0].options}
        self._at_one = TorchGroups([replace(one, **plain) for one in choices], self._directions)

    @property
    def capturable(self) -> bool:  # type: ignore[override]
        """Where all that it remembers is on the parameters' device."""
        return self._at_one.capturable

    def schedule(self, factor: Factor) -> None:
        """Set every member's learning rate to its own base rate times the factor."""
        self._factor = factor

    @torch.no_grad()
    def step(self) -> None:
        """Update from the parameters' gradients."""
        torch._foreach_zero_(list(self._directions.values()))  # pyright: ignore[reportPrivateImportUsage]
        for name, value in self.parameters.items():
            assert value.grad is not None
            if self._decays and not self._decoupled:
                value.grad.addcmul_(value, broadcast_members(self._decay, value))
            self._directions[name].grad = value.grad
        self._at_one.step()
        rate = self._factor * self._rate
        kept = 1 - rate * self._decay
        for name, value in self.parameters.items():
            if self._decays and self._decoupled:
                value.mul_(broadcast_members(kept, value))
            value.addcmul_(self._directions[name], broadcast_members(rate, value))

    def masked(self, alive: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """Its state's tensors, each with the mask of the members it belongs to."""
        return self._at_one.masked(alive)

    def state(self, member: int) -> MemberState:
        """A copy of what is remembered of one member."""
        return self._at_one.state(member)

    def load_states(self, states: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> None:
        """Take up the members' states where `state` left them."""
        self._at_one.load_states(states)
