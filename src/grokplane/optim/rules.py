"""Rules of the config group `rules`, which extend the update: perturbed weights, gradient filters, noise, constraints.

In each step the loop calls every rule of the stack, in the order of the config. `around` wraps the backward pass; the
first rule is the outermost. `before` may change gradients and weights before the optimizer, and `after` may change
weights after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from grokplane.operand_group import OperandGroup
from grokplane.optim.base import Factor, MemberState, Parameters, broadcast_members
from grokplane.options import ConfigError, one_of

SINCE = "since"  # entry of a rule's state: the step at which its memory began, if that is not step 0
Backward = Callable[[], Tensor]
"""Forward and backward pass at the present parameters: sets every `.grad` and returns the members' losses [E]."""


@dataclass(frozen=True)
class Context:
    """Inputs for the construction of a rule.

    Attributes:
        parameters: the stack's parameters [E, ...], with initial values.
        seeds: the members' seeds.
        rates: the members' learning rates before the schedule, by parameter name.
        started: whether each member starts from another run, so that its seed does not give its initial weights; empty:
            no member does.
        carried: whether each member also goes on with the memory of that run; empty: no member does.
        layers: gives the full name of each layer's parameters, by layer and role; see `StackedModel.layer_names`.
        groups: the group of each member's operands, None for a task without one; see `OperandGroup`.
        matrices: names of the matrices [E, out, in] in the order of the forward pass.
    """

    parameters: Parameters
    seeds: Sequence[int]
    rates: Callable[[str], Sequence[float]]
    started: Sequence[bool] = ()
    carried: Sequence[bool] = ()
    layers: Callable[[], Mapping[str, Mapping[str, str]]] = dict
    groups: Sequence[OperandGroup | None] = ()
    matrices: Sequence[str] = ()

    def selected(self, key: str, names: Sequence[str]) -> list[str]:
        """Full names of the parameters of these layers, and of these roles in any layer ("weight", "bias").

        Raises:
            ConfigError: names the key and the names that the network has.
        """
        layers = self.layers()
        roles = list(dict.fromkeys(role for of_layer in layers.values() for role in of_layer))
        known = [*layers, *roles]
        for name in names:
            if name not in known:
                raise ConfigError(key, names, f"no {name} here; {one_of(name, known)}")
        if not names:
            raise ConfigError(key, names, f"must contain at least one name; {one_of('', known)}")
        return [
            parameter
            for layer, of_layer in layers.items()
            for role, parameter in of_layer.items()
            if layer in names or role in names
        ]


class Rule:
    """One rule over a stack. The tensors in `memory` are saved and frozen with each member.

    Attributes:
        parameters: the stack's parameters [E, ...].
        memory: state between steps: by name, then by parameter name, [E, ...].
        initial: values that the initial weights determine, in the same form. They are saved for members that start from
            another run. For all others they are computed anew, because the seed gives the initial weights.
        capturable: whether every step but the first does the same, apart from device tensors that `at` fills.
        carries: whether another run can go on with the memory from its own step 0.
        since: the step at which the memory of each member began [E]: 0, or that of a branch that added the rule.
    """

    capturable = False
    carries = True

    def __init__(self, context: Context) -> None:
        self.parameters = context.parameters
        self.memory: dict[str, dict[str, Tensor]] = {}
        self.initial: dict[str, dict[str, Tensor]] = {}
        self._started = list(context.started)
        self.since = [0] * len(context.seeds)

    def begin(self) -> None:
        """Compute `initial` in place from the present weights, which are the initial ones."""

    def at(self, step: int) -> None:
        """Prepare for a step. A captured step (CUDA graph) calls no other method of the rule."""

    def around(self, step: int, backward: Backward) -> Backward:  # noqa: ARG002 (the rule's arguments)
        """Wrap the backward pass."""
        return backward

    def before(self, step: int, factor: Factor) -> None:
        """Change gradients (or weights) in place, before the optimizer; `factor` is the schedule's."""

    def after(self, step: int) -> None:
        """Change weights in place, after the optimizer."""

    def changing(self, step: int) -> list[Tensor]:  # noqa: ARG002 (the rule's arguments)
        """The tensors of `memory` [E, ...], or the parts of them, that this step's update changes."""
        return [value for named in self.memory.values() for value in named.values()]

    @property
    def saved(self) -> dict[str, dict[str, Tensor]]:
        """The tensors that the states of the members hold, in the form of `memory`."""
        return self.memory | (self.initial if any(self._started) else {})

    def state(self, member: int) -> MemberState:
        """A copy of one member's memory, on the CPU."""
        started = bool(self._started) and self._started[member]
        told = {
            name: {key: value[member].detach().cpu().clone() for key, value in named.items()}
            for name, named in (self.memory | (self.initial if started else {})).items()
        }
        return told | ({SINCE: {"step": torch.tensor(self.since[member])}} if self.since[member] else {})

    def load_states(self, states: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> None:
        """Restore the members' memory from `state`."""
        self.carry(states)
        self.since = [int(state[SINCE]["step"]) if SINCE in state else 0 for state in states]
        for name, named in self.initial.items():
            for key, value in named.items():
                for member in (member for member, started in enumerate(self._started) if started):
                    value[member].copy_(states[member][name][key])

    def carry(self, states: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> None:
        """Go on with the `memory` in states that `state` returned; `initial` stays this run's own."""
        for name, named in self.memory.items():
            for key, value in named.items():
                value.copy_(torch.stack([state[name][key] for state in states]))


class RuleChoice(Protocol):
    """A choice of the config group `rules`."""

    @classmethod
    def stacked(cls, choices: Sequence[Any], context: Context) -> Rule:
        """Build the rule of a stack from one choice per member."""
        ...


def restored(parameters: Parameters, change: Callable[[], None], backward: Backward) -> Tensor:
    """Run a backward pass at changed weights, then restore the weights bit for bit."""
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

    Sums run along rows, because torch adds a single column in another order than several columns, with other last bits.
    """
    return torch.stack([tensor.flatten(1).norm(dim=1) for tensor in tensors], 1).norm(dim=1)


class Kept:
    """Copies of tensors [E', ...], to restore them later.

    Args:
        pairs: each tensor with a mask of its members [E'], read when it is restored; None: it belongs to all members.
    """

    def __init__(self, pairs: Sequence[tuple[Tensor, Tensor | None]]) -> None:
        self._kept = [(tensor, tensor.clone(), alive) for tensor, alive in pairs]

    def put_back(self) -> None:
        """Restore the members whose mask is False."""
        for tensor, old, alive in self._kept:
            if alive is not None:
                tensor.copy_(torch.where(broadcast_members(alive, tensor), tensor, old))

    def put_all_back(self) -> None:
        """Restore all members."""
        for tensor, old, _ in self._kept:
            tensor.copy_(old)
