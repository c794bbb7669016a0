"""The hooks of a stack's members, and what they remember."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grokplane.callbacks import Hook, LogPoint
from grokplane.train.member import Member

States = Mapping[str, Mapping[str, Any]]


class Hooks:
    """One hook for each callback of each member.

    Args:
        members: of the stack, those that are over included.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self._hooks: list[dict[str, Hook]] = [
            {name: callback.hook() for name, callback in member.callbacks.items()} for member in members
        ]
        self._before: list[tuple[int, States]] = [(-1, {})] * len(members)

    def __bool__(self) -> bool:
        return any(self._hooks)

    def show(self, member: int, point: LogPoint) -> bool:
        """Show a log point to all hooks of a member; whether one of them ends it."""
        self._before[member] = point.step, self._now(member)
        ends = [hook(point) for hook in self._hooks[member].values()]  # all of them see the point
        return any(ends)

    def state(self, member: int, step: int) -> States:
        """What the hooks of a member remember, by name, without the log point of this step."""
        shown, before = self._before[member]
        return before if shown == step else self._now(member)

    def load_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Have all hooks remember what the members' states hold; states of format 0 hold nothing of hooks."""
        for hooks, state in zip(self._hooks, states, strict=True):
            for name, remembered in state.get("callbacks", {}).items():
                hooks[name].load_state(remembered)

    def _now(self, member: int) -> States:
        return {name: hook.state() for name, hook in self._hooks[member].items()}
