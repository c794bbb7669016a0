"""What the config group `rules` adds to the plain update: perturbed weights, filtered gradients, noise, constraints.

In each step the loop asks every rule of the stack, in the order of the config: `around` wraps the backward pass (the
first rule is outermost, and begins), `before` may change gradients and weights ahead of the optimizer, `after` the
weights behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from grokplane.optim.base import Factor, MemberState, Parameters, broadcast_members

Backward = Callable[[], Tensor]
"""Forward and backward pass on the parameters as they are: sets every `.grad`, returns the members' losses [E]."""


@dataclass(frozen=True)
class Context:
    """What a rule may build on.

    Attributes:
        parameters: the stack's, [E, ...], with their initial values.
        seeds: the members' seeds.
        rates: the members' learning rates before the schedule, by the name of a parameter.
    """

    parameters: Parameters
    seeds: Sequence[int]
    rates: Callable[[str], Sequence[float]]


class Rule:
    """One rule over a stack. Its tensors in `memory` are saved with each member and frozen with it.

    Attributes:
        parameters: the stack's, [E, ...].
        memory: what must be remembered from step to step: by name, by parameter name, [E, ...].
        capturable: whether it does the same in every step but the first, but for what `at` lays ready on the device.
    """

    capturable = False

    def __init__(self, context: Context) -> None:
        self.parameters = context.parameters
        self.memory: dict[str, dict[str, Tensor]] = {}

    def at(self, step: int) -> None:
        """Hear which step it is, ahead of all that follows; a captured step (CUDA graph) hears nothing else."""

    def around(self, step: int, backward: Backward) -> Backward:  # noqa: ARG002 (the rule's arguments)
        """The backward pass as this rule wants it."""
        return backward

    def before(self, step: int, factor: Factor) -> None:
        """Change gradients (or weights) in place, ahead of the optimizer; `factor` is the schedule's."""

    def after(self, step: int) -> None:
        """Change weights in place, behind the optimizer."""

    def changing(self, step: int) -> list[Tensor]:  # noqa: ARG002 (the rule's arguments)
        """The tensors of its memory [E, ...], or the parts of them, that this step's update changes."""
        return [value for named in self.memory.values() for value in named.values()]

    def state(self, member: int) -> MemberState:
        """A copy of one member's memory, on the CPU."""
        return {
            name: {key: value[member].detach().cpu().clone() for key, value in named.items()}
            for name, named in self.memory.items()
        }

    def load_states(self, states: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> None:
        """Take up the members' memories where `state` left them."""
        for name, named in self.memory.items():
            for key, value in named.items():
                value.copy_(torch.stack([state[name][key] for state in states]))


class RuleChoice(Protocol):
    """A choice of the config group `rules`."""

    @classmethod
    def stacked(cls, choices: Sequence[Any], context: Context) -> Rule:
        """The rule of a stack, from one choice a member."""
        ...


def restored(parameters: Parameters, change: Callable[[], None], backward: Backward) -> Tensor:
    """Run a backward pass on changed weights, then put the weights back, bit by bit."""
    kept = {name: value.detach().clone() for name, value in parameters.items()}
    with torch.no_grad():
        change()
    losses = backward()
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(kept[name])
    return losses


def gradients(parameters: Parameters) -> dict[str, Tensor]:
    """The parameters' gradients by name."""
    found = {name: value.grad for name, value in parameters.items()}
    return {name: value for name, value in found.items() if value is not None}


def member_norms(tensors: Sequence[Tensor]) -> Tensor:
    """Each member's L2 norm [E] over all the tensors [E, ...].

    Sums go along rows: torch adds a single column in another order than several, to other bits.
    """
    return torch.stack([tensor.flatten(1).norm(dim=1) for tensor in tensors], 1).norm(dim=1)


class Kept:
    """Tensors [E', ...] as they are now, to be put back.

    Args:
        pairs: each with a mask of its members [E'], read when they are put back; None: it belongs to all.
    """

    def __init__(self, pairs: Sequence[tuple[Tensor, Tensor | None]]) -> None:
        self._kept = [(tensor, tensor.clone(), alive) for tensor, alive in pairs]

    def put_back(self) -> None:
        """The members whose mask is unset are what they were."""
        for tensor, old, alive in self._kept:
            if alive is not None:
                tensor.copy_(torch.where(broadcast_members(alive, tensor), tensor, old))

    def put_all_back(self) -> None:
        """All members are what they were."""
        for tensor, old, _ in self._kept:
            tensor.copy_(old)
