"""One torch.optim optimizer over all members of a stack, with few kernels for any number of members and rates.

An update of torch.optim is the learning rate times a direction that the gradients determine. So the optimizer runs with
rate 1 and without decay on tensors of zeros. It leaves minus the direction there, which is multiplied by each member's
own rate. One param group per member, as in `TorchGroups`, would launch every kernel of the optimizer once per member.
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

# Options with which the optimizer itself runs.
PER_MEMBER: dict[str, Any] = {"lr": 1.0, "weight_decay": 0.0}


class Directions(StackedOptimizer):
    """Updates E members, each as its own torch.optim optimizer would. Its states are those of `TorchGroups`.

    Args:
        choices: one per member, of one class; they may differ in `lr` and `weight_decay`.
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
        """Whether the whole state is on the parameters' device."""
        return self._at_one.capturable

    def schedule(self, factor: Factor) -> None:
        """Set every member's learning rate to its base rate times the factor."""
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
        """The tensors of the state, each with the mask of its members."""
        return self._at_one.masked(alive)

    def state(self, member: int) -> MemberState:
        """A copy of one member's state."""
        return self._at_one.state(member)

    def load_states(self, states: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> None:
        """Restore the members' states from `state`."""
        self._at_one.load_states(states)
