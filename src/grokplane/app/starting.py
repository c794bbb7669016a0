"""The first weights of a new stack: those of the runs that `train.start_from` and `train.branch_from` name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from grokplane import config
from grokplane.app.branching import parents
from grokplane.app.sources import START, checkpoint
from grokplane.options import ConfigError, name_of, shown
from grokplane.schemas import path
from grokplane.train import Member, Stack, branch
from grokplane.train.options import WITH_OPTIMIZER


def begin(stack: Stack) -> list[list[str]]:
    """Give the members of a new stack the weights that they start from, if any; branches their whole state.

    Returns:
        For each member that branches, what starts empty, see `grokplane.train.branch`.

    Raises:
        ConfigError: a run, a step or a checkpoint that is not there, or that does not fit.
    """
    if stack.begun:
        return []
    if any(member.train.branch_from is not None for member in stack.members):
        return branch(stack, parents(stack))
    stack.start(states(stack.members))
    return []


def states(members: Sequence[Member]) -> list[dict[str, Any] | None]:
    """The state that each member starts from; members with the same source share one.

    Raises:
        ConfigError: see `begin`.
    """
    wanted = {member.train.start_from: member for member in members if member.train.start_from is not None}
    found = {text: _state(text, member) for text, member in wanted.items()}
    return [None if one.train.start_from is None else found[one.train.start_from] for one in members]


def _state(text: str, member: Member) -> dict[str, Any]:
    """The checkpoint that a member starts from."""
    state = checkpoint(START, text)
    if member.train.start_with == WITH_OPTIMIZER:
        _check_memory(text, state, member)
    return state


def _check_memory(text: str, state: Mapping[str, Any], member: Member) -> None:
    """Refuse a run with other rules than the member's, or an optimizer that differs in other than stackable keys."""
    allowed = "allowed with train.start_with=weights"
    if state["step"] == 0:
        raise ConfigError(START, text, f"at step 0 a run has no memory of its optimizer; a later step, or {allowed}")
    rules = state["config"].get("rules") or {}
    ours, theirs = [f"[{','.join(names)}]" for names in (member.rules, rules)]
    if ours != theirs:
        raise ConfigError("rules", ours, f"the run {text} has rules={theirs}, and its memory is theirs; {allowed}")
    optimizer = state["config"].get("optimizer") or {}
    _check_optimizer("optimizer", member.optimizer, optimizer, lambda there: f"the run {text} has {there}; {allowed}")


def _check_optimizer(key: str, ours: Any, theirs: Mapping[str, Any], refusal: Callable[[str], str]) -> None:
    """Refuse a stored optimizer that differs from ours, or in whose parts one differs, in other than stackable keys.

    Args:
        key: the key of the optimizer.
        ours: the choice.
        theirs: the stored config of the other one.
        refusal: the end of the message, from what the other run has.
    """
    target = str(theirs.get("_target_"))
    if target != path(type(ours)):
        raise ConfigError(key, name_of(ours), refusal(config.choice_names().get(target, target)))
    for spec in fields(ours):
        value, there = getattr(ours, spec.name), theirs.get(spec.name)
        if is_dataclass(value) and isinstance(there, Mapping):
            _check_optimizer(f"{key}.{spec.name}", value, there, refusal)
        elif not spec.metadata.get("stackable") and spec.name in theirs and value != there:
            raise ConfigError(f"{key}.{spec.name}", value, refusal(shown(there)))
