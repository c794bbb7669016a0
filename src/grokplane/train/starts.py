"""Beginning a stack with the weights of other runs, and optionally with the memory of their optimizers and rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from grokplane.models import StackedModel
from grokplane.optim import Rule, StackedOptimizer
from grokplane.options import ConfigError
from grokplane.train.member import Member
from grokplane.train.options import WITH_OPTIMIZER

State = Mapping[str, Any]


def started(members: Sequence[Member]) -> list[bool]:
    """Whether each member starts from another run."""
    return [member.train.start_from is not None for member in members]


def branched(members: Sequence[Member]) -> list[bool]:
    """Whether each member branches from another run."""
    return [member.train.branch_from is not None for member in members]


def elsewhere(members: Sequence[Member]) -> list[bool]:
    """Whether the first weights of each member are those of another run."""
    return [start or branch for start, branch in zip(started(members), branched(members), strict=True)]


def carried(members: Sequence[Member]) -> list[bool]:
    """Whether each member goes on with the memory of another run's optimizer and rules."""
    return [one and members[0].train.start_with == WITH_OPTIMIZER for one in started(members)]


def initial_needed(member: Member) -> bool:
    """Whether a metric of the stack needs the initial weights."""
    return any(getattr(metric, "needs_initial", False) for metric in member.metrics.values())


def initial_state(member: Member, initial: Mapping[str, Tensor], row: int) -> dict[str, Any]:
    """The entry `initial` of a checkpoint: initial weights that the seed does not give, if they are needed."""
    if not initial or not any(elsewhere([member])):
        return {}
    return {"initial": {name: value[row].cpu().clone() for name, value in initial.items()}}


def load_initial(initial: Mapping[str, Tensor], members: Sequence[Member], states: Sequence[State]) -> None:
    """Restore the initial weights of members whose states hold them.

    Raises:
        ConfigError: neither the seed nor the state gives the initial weights that a metric needs.
    """
    for row, (member, state) in enumerate(zip(members, states, strict=True)):
        if initial and any(elsewhere([member])) and "initial" not in state:
            needing = [name for name, metric in member.metrics.items() if getattr(metric, "needs_initial", False)]
            why = "needs the initial weights, which checkpoints of a run that began with those of another run hold only"
            raise ConfigError("metrics", ",".join(needing), f"{why} if it recorded this metric from its first step on")
        for name, value in state.get("initial", {}).items() if initial else ():
            initial[name][row].copy_(value)


def load_weights(network: StackedModel, members: Sequence[Member], states: Sequence[State | None]) -> None:
    """Copy the weights and buffers of the states; members without a state keep theirs.

    Raises:
        ConfigError: names the first parameter, in the network's order, that a state lacks, has in another shape, or has
            beside those of the network.
    """
    ours = network.state_dict()
    for member, state in zip(members, states, strict=True):
        if state is not None:
            check_parameters(member, ours, state["model"])
    with torch.no_grad():
        for name, value in ours.items():
            for row, state in enumerate(states):
                if state is not None:
                    value[row].copy_(state["model"][name])


def check_parameters(member: Member, ours: Mapping[str, Tensor], theirs: Mapping[str, Any]) -> None:
    """Refuse the parameters [...] of a run that are not those of the network [E, ...]."""
    needs = "a run with the same model on a task of the same shapes is needed"
    for name, value in ours.items():
        here, there = list(value.shape[1:]), theirs.get(name)
        if not isinstance(there, Tensor):
            raise _refused(member, f"that run has no {name}, which has shape {here} here; {needs}")
        if list(there.shape) != here:
            raise _refused(member, f"{name} has shape {list(there.shape)} in that run and {here} here; {needs}")
    more = next((name for name in theirs if name not in ours), None)
    if more is not None:
        shape = f" of shape {list(theirs[more].shape)}" if isinstance(theirs[more], Tensor) else ""
        raise _refused(member, f"that run has {more}{shape}, which this model does not have; {needs}")


def load_memory(
    optimizer: StackedOptimizer, rules: Mapping[str, Rule], members: Sequence[Member], states: Sequence[State | None]
) -> None:
    """Go on with the memory of the states' optimizers and rules; members without a state begin with none.

    Raises:
        ConfigError: a rule whose memory cannot be carried, or a state that does not fit.
    """
    unfit = next((name for name, rule in rules.items() if not rule.carries), None)
    if unfit is not None:
        allowed = f"the memory of {unfit} belongs to the steps of its run; allowed with train.start_with=weights"
        raise ConfigError("train.start_with", WITH_OPTIMIZER, allowed)
    found = [
        {"optimizer": optimizer.state(row), "rules": {name: rule.state(row) for name, rule in rules.items()}}
        if state is None
        else state
        for row, state in enumerate(states)
    ]
    try:
        optimizer.load_states([as_of(state["optimizer"], optimizer.parameters) for state in found])
        for name, rule in rules.items():
            rule.carry([state["rules"][name] for state in found])
    except (KeyError, RuntimeError, AttributeError) as error:
        member = next(member for member, one in zip(members, started(members), strict=True) if one)
        cause = " ".join(str(error).split())
        allowed = f"the memory of its optimizer does not fit ({cause}); allowed with train.start_with=weights"
        raise _refused(member, allowed) from error


def as_of(
    moments: Mapping[str, Mapping[str, Tensor]], parameters: Mapping[str, Tensor]
) -> dict[str, dict[str, Tensor]]:
    """An optimizer's state of one member with the dtypes of the parameters [E, ...]; counts keep theirs."""

    def cast(value: Tensor, like: Tensor) -> Tensor:
        return value.to(like.dtype) if value.shape == like.shape[1:] else value

    return {
        name: {key: value if key == "step" else cast(value, parameters[name]) for key, value in named.items()}
        for name, named in moments.items()
    }


def _refused(member: Member, allowed: str) -> ConfigError:
    key = "start_from" if member.train.branch_from is None else "branch_from"
    return ConfigError(f"train.{key}", getattr(member.train, key), allowed)
