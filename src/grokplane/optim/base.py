"""The interface of optimizers for the loop: one update of E members at once, and a state for each member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

Parameters = Mapping[str, nn.Parameter]
"""A stack's parameters by name, each [E, ...]."""

MemberState = dict[str, dict[str, Tensor]]
"""The optimizer's state of one member, by parameter name (with torch.optim's own state names)."""


Factor = float | Tensor
"""The schedule's factor on every learning rate; off the CPU a tensor [], which a captured step (CUDA graph) reads."""


class OptimizerChoice(Protocol):
    """A choice of the config group `optimizer`: how one member is updated."""

    @property
    def lr(self) -> float:
        """Learning rate before the schedule."""
        ...

    @classmethod
    def stacked(cls, choices: Sequence[Any], parameters: Parameters, hidden: Sequence[str]) -> StackedOptimizer:
        """Build the optimizer of a stack.

        A class with `needs_parts = True` also gets `parts`: the parameters' names by part, see `StackedModel.parts`.

        Args:
            choices: one per member, of this class.
            parameters: the parameters to update.
            hidden: names of the hidden matrices, for optimizers that treat them separately.

        Raises:
            ConfigError: this optimizer cannot train the network.
        """
        ...


_Choice = TypeVar("_Choice")


def with_rates_times(choice: _Choice, factor: float) -> _Choice:
    """An optimizer choice with all its learning rates multiplied by a factor, also those of the choices in it.

    A learning rate is a key `lr` or a key that ends in `_lr`.
    """
    if factor == 1:
        return choice
    own: Any = choice
    values = {spec.name: getattr(own, spec.name) for spec in fields(own)}
    given = {name: rate for name, rate in values.items() if f"_{name}".endswith("_lr") and rate is not None}
    rates = {name: rate * factor for name, rate in given.items()}
    inner = {name: with_rates_times(part, factor) for name, part in values.items() if is_dataclass(part)}
    return replace(own, **rates, **inner)


class StackedOptimizer:
    """Updates E members, each with its own hyperparameters.

    Attributes:
        parameters: the parameters to update.
        rates: each member's learning rate before the schedule.
        capturable: whether every step but the first runs the same sequence of kernels (CUDA graph) and reads no numbers
            from the host.
    """

    capturable = False

    def __init__(self, parameters: Parameters, rates: Sequence[float]) -> None:
        self.parameters, self.rates = dict(parameters), list(rates)

    def learning_rates(self, factors: Sequence[float]) -> list[float]:
        """Each member's learning rate multiplied by its own factor of the schedule."""
        return [rate * factor for rate, factor in zip(self.rates, factors, strict=True)]

    def rates_of(self, name: str) -> Sequence[float]:  # noqa: ARG002 (one rate for all parameters, unless overridden)
        """The members' learning rates for one parameter, before the schedule."""
        return self.rates

    def schedule(self, factor: Factor) -> None:
        """Set every member's learning rate to its base rate times the factor."""
        raise NotImplementedError(f"{type(self).__name__} has no schedule")

    def step(self) -> None:
        """Update all parameters in place from their gradients [E, ...]."""
        raise NotImplementedError(f"{type(self).__name__} has no step")

    def masked(self, alive: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """The tensors of the state, each with the part of the mask [E] for its members; None: the members share it."""
        raise NotImplementedError(f"{type(self).__name__} lists no state")

    def state(self, member: int) -> MemberState:
        """A copy of one member's state, on the CPU."""
        raise NotImplementedError(f"{type(self).__name__} has no state")

    def load_states(self, states: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> None:
        """Restore the members' states from `state`.

        Args:
            states: one per member. They may have different numbers of updates, or none, where members started from
                other runs.
        """
        raise NotImplementedError(f"{type(self).__name__} loads no state")


class NoParameters(StackedOptimizer):
    """The optimizer of no parameters: it does nothing and has no state."""

    capturable = True

    def __init__(self, rates: Sequence[float]) -> None:
        super().__init__({}, rates)

    def schedule(self, factor: Factor) -> None:
        """Nothing is scheduled."""

    def step(self) -> None:
        """Nothing is updated."""

    def masked(self, alive: Tensor) -> list[tuple[Tensor, Tensor | None]]:  # noqa: ARG002 (see `StackedOptimizer`)
        """No tensors."""
        return []

    def state(self, member: int) -> MemberState:  # noqa: ARG002 (see `StackedOptimizer`)
        """An empty state."""
        return {}

    def load_states(self, states: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> None:
        """Nothing is restored."""


def per_member(values: Sequence[float], like: Tensor) -> Tensor:
    """One number per member, in a shape that broadcasts over a parameter [E, ...], with its dtype and device."""
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, *[1] * (like.dim() - 1))


def broadcast_members(values: Tensor, like: Tensor) -> Tensor:
    """A number or mask per member [E], in a shape that broadcasts over a tensor [E, ...]."""
    return values.view(-1, *[1] * (like.dim() - 1))
