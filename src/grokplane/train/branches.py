"""Continuing runs under other settings: a stack whose members take the states of the runs that they branch from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from grokplane.metrics import Off
from grokplane.optim.rules import SINCE
from grokplane.options import ConfigError, name_of
from grokplane.train import starts
from grokplane.train.grok import GrokMarks
from grokplane.train.loop import run
from grokplane.train.member import Member
from grokplane.train.process import prepare_process
from grokplane.train.stack import Stack

KEY = "train.branch_from"


@dataclass(frozen=True)
class Parent:
    """The run that a member branches from.

    Attributes:
        state: its state at the step of the branch, as `Stack.state` returned it.
        member: the objects that its config describes.
        initial: its initial parameters by name; None if they are not needed, see `needs_initial`.
    """

    state: Mapping[str, Any]
    member: Member
    initial: Mapping[str, Tensor] | None = None


def needs_initial(stack: Stack) -> bool:
    """Whether a rule or a metric of the stack needs the initial weights."""
    return bool(stack.initial) or any(rule.initial for rule in stack.rules.values())


def branch(stack: Stack, parents: Sequence[Parent]) -> list[list[str]]:
    """Continue the parents at their step with the settings of the stack's members.

    Weights, step, batches, schedule and marks go on. The memory of an optimizer or a rule goes on if the member has the
    same one with the same layout; otherwise it starts empty. A single member keeps the number of threads of its parent.

    Args:
        stack: a new stack, whose members all have `train.branch_from`.
        parents: one per member, all of one step.

    Returns:
        For each member a line for each memory that starts empty.

    Raises:
        ConfigError: a parent that does not fit, or a key that cannot change.
    """
    for member, parent in zip(stack.members, parents, strict=True):
        _check(member, parent)
        starts.check_parameters(member, stack.network.state_dict(), parent.state["model"])
    if needs_initial(stack):
        _take_initial(stack, parents)
    states, lines = [], []
    for row, parent in enumerate(parents):
        state, told = _state(stack, row, parent)
        states.append(state)
        lines.append(told)
    if len(states) == 1:
        prepare_process(stack.members, states)
    stack.load_states(states)
    return lines


def _check(member: Member, parent: Parent) -> None:
    """Refuse a parent that has ended, and changes that would have no effect."""
    step, theirs = parent.state["step"], parent.member
    if parent.state["diverged"] >= 0:
        raise ConfigError(KEY, member.train.branch_from, f"that run diverged at step {step}; allowed: an earlier step")
    if member.train.steps <= step:
        raise ConfigError("train.steps", member.train.steps, f"the branch begins at step {step}; allowed: more steps")
    ours = member.model
    if type(ours) is type(theirs.model) and is_dataclass(ours):
        for name in (spec.name for spec in fields(ours) if spec.name.startswith("init")):
            if getattr(ours, name) != getattr(theirs.model, name):
                why = "a branch has the weights of its run, so this would not be read; leave it out"
                raise ConfigError(f"model.{name}", getattr(ours, name), why)
    centred, before = (getattr(one, "centred", False) for one in (ours, theirs.model))
    if centred != before or (centred and member.seed != theirs.seed):
        key, value = ("model.centred", centred) if centred != before else ("seed", member.seed)
        raise ConfigError(key, value, "model.centred subtracts the initial network of the run's seed; leave it out")


@torch.no_grad()
def _take_initial(stack: Stack, parents: Sequence[Parent]) -> None:
    """Let rules and metrics take the initial weights of the parents for those of the members."""
    for row, parent in enumerate(parents):
        if parent.initial is None:
            raise ValueError("rules or metrics need the initial weights of every parent")
        for name, value in stack.parameters.items():
            value[row].copy_(parent.initial[name])
    stack.remember_initial()


def _state(stack: Stack, row: int, parent: Parent) -> tuple[dict[str, Any], list[str]]:
    """The state with which a member goes on, and what starts empty."""
    member, theirs = stack.members[row], parent.member
    kept = {name for name, one in member.callbacks.items() if theirs.callbacks.get(name) == one}
    state = {name: value for name, value in parent.state.items() if name not in ("initial", "parts", "marks", "config")}
    state["callbacks"] = {name: one for name, one in state.get("callbacks", {}).items() if name in kept}
    state["alive"] = True
    told: list[str] = []
    why = _other_optimizer(member, parent)
    if why is None:
        state["optimizer"] = starts.as_of(state["optimizer"], stack.parameters)
    else:
        told.append(f"the memory of the optimizer starts empty ({why})")
        state["optimizer"] = stack.optimizer.state(row)
    state["rules"] = {}
    for name in stack.rules:
        state["rules"][name], kept_memory = _rule_state(stack, row, name, parent)
        if not kept_memory:
            told.append(f"the memory of rules.{name} starts empty")
    return state | _marks(stack, row, parent) | starts.initial_state(member, stack.initial, row), told


def _marks(stack: Stack, row: int, parent: Parent) -> dict[str, Any]:
    """The marks of the parent, if the member makes them in the same way; otherwise none."""
    grok = stack.members[row].grok
    ours, theirs = (replace(one, stop_after=None) for one in (grok, parent.member.grok))
    parts = stack.examples.parts
    if ours != theirs:
        return GrokMarks(parts={name: GrokMarks() for name in parts}, lasting=grok.lasting()).state()
    return GrokMarks.of({key: one for key, one in parent.state.items() if parts or key != "parts"}, parts).state()


def _rule_state(stack: Stack, row: int, name: str, parent: Parent) -> tuple[dict[str, Any], bool]:
    """The state of a rule, and whether it goes on with the memory of its parent's."""
    rule, own = stack.rules[name], stack.rules[name].state(row)
    theirs = parent.state["rules"].get(name, {})
    same = type(parent.member.rules.get(name)) is type(stack.members[row].rules[name])
    if same and all(_shapes(theirs.get(key, {})) == _shapes(own[key]) for key in rule.memory):
        kept = [key for key in (*rule.memory, SINCE) if key in theirs]
        return own | {key: theirs[key] for key in kept}, True
    since = {SINCE: {"step": torch.tensor(parent.state["step"])}} if rule.memory and parent.state["step"] else {}
    return own | since, not rule.memory


def _other_optimizer(member: Member, parent: Parent) -> str | None:
    """Why a member cannot go on with the memory of its parent's optimizer; None if it can."""
    ours, theirs = member.optimizer, parent.member.optimizer
    if list(_kinds(ours)) != list(_kinds(theirs)):
        return f"{name_of(theirs)} before, {name_of(ours)} now"
    names = [spec.name for spec in fields(ours) if not spec.metadata.get("stackable")]  # type: ignore[arg-type]
    changed = [name for name in names if getattr(ours, name) != getattr(theirs, name)]
    memory = parent.state["optimizer"]
    if changed and any(memory.values()) and _layout(memory) != _layout(_after_a_step(member)):
        return f"another layout with other {', '.join(changed)}"
    return None


def _kinds(choice: Any) -> Iterator[type]:
    """The classes of a choice and of the choices in it."""
    if isinstance(choice, Mapping):
        for one in choice.values():
            yield from _kinds(one)
    if is_dataclass(choice):
        yield type(choice)
        for spec in fields(choice):
            yield from _kinds(getattr(choice, spec.name))


def _after_a_step(member: Member) -> Mapping[str, Mapping[str, Tensor]]:
    """The memory of a member's optimizer after one step of its own."""
    options = replace(member.train, branch_from=None, device="cpu")
    stack = Stack([replace(member, train=options, rules={}, metrics={}, callbacks={}, mi=Off())])
    for _ in run(stack, lambda: True):
        pass
    return stack.state(0)["optimizer"]


def _layout(memory: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, torch.Size]]:
    return {name: _shapes(named) for name, named in memory.items()}


def _shapes(named: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in named.items()}
