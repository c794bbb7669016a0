"""What the loop knows of an optimizer: it updates E members at once and keeps a state for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Parameters = Mapping[str, nn.Parameter]
"""A stack's parameters by name, each [E, ...]."""

MemberState = dict[str, dict[str, Tensor]]
"""By parameter name, what is remembered of it for one member (torch.optim's own names)."""


Factor = float | Tensor
"""What the schedule makes of every learning rate; off the CPU a tensor [], which a captured step (CUDA graph) reads."""


class OptimizerChoice(Protocol):
    """A choice of the config group `optimizer`: how one member is updated."""

    @property
    def lr(self) -> float:
        """Learning rate before the schedule."""
        ...

    @classmethod
    def stacked(cls, choices: Sequence[Any], parameters: Parameters, hidden: Sequence[str]) -> StackedOptimizer:
        """The optimizer of a stack.

        Args:
            choices: one a member, of this class.
            parameters: what it updates.
            hidden: names of the hidden matrices among them, for optimizers that treat those apart.

        Raises:
            ConfigError: a network that this optimizer cannot train.
        """
        ...


class StackedOptimizer:
    """Updates E members, each under its own hyperparameters.

    Attributes:
        parameters: what it updates.
        rates: each member's learning rate before the schedule.
        capturable: whether every step but the first is the same sequence of kernels (CUDA graph), numbers of the host
            left out.
    """

    capturable = False

    def __init__(self, parameters: Parameters, rates: Sequence[float]) -> None:
        self.parameters, self.rates = dict(parameters), list(rates)

    def learning_rates(self, factors: Sequence[float]) -> list[float]:
        """Each member's rate under its own factor of the schedule."""
        return [rate * factor for rate, factor in zip(self.rates, factors, strict=True)]

    def rates_of(self, name: str) -> Sequence[float]:  # noqa: ARG002 (one rate for all parameters, unless overridden)
        """The members' learning rates of one parameter before the schedule."""
        return self.rates

    def schedule(self, factor: Factor) -> None:
        """Set every member's learning rate to its own base rate times the factor."""
        raise NotImplementedError(f"{type(self).__name__} has no schedule")

    def step(self) -> None:
        """Update all parameters in place from their gradients [E, ...]."""
        raise NotImplementedError(f"{type(self).__name__} has no step")

    def masked(self, alive: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """Its state's tensors, each with the part of the mask [E] that belongs to its members; None: all share it."""
        raise NotImplementedError(f"{type(self).__name__} lists no state")

    def state(self, member: int) -> MemberState:
        """A copy of what is remembered of one member, on the CPU."""
        raise NotImplementedError(f"{type(self).__name__} has no state")

    def load_states(self, states: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> None:
        """Take up the members' states where `state` left them.

        Args:
            states: one a member, all taken at the same step.
        """
        raise NotImplementedError(f"{type(self).__name__} loads no state")


def per_member(values: Sequence[float], like: Tensor) -> Tensor:
    """One number a member in a shape that broadcasts over a parameter [E, ...], in its dtype, on its device."""
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, *[1] * (like.dim() - 1))


def broadcast_members(values: Tensor, like: Tensor) -> Tensor:
    """A number or a mask a member [E] in a shape that broadcasts over a tensor [E, ...]."""
    return values.view(-1, *[1] * (like.dim() - 1))
