"""Log points and checkpoints on their way out: each waits for what is still being estimated of those before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from grokplane.metrics import Pending
from grokplane.train.observe import Record

# Bytes of activations and states that may be kept in memory until they can go; the last of them always may.
HELD = 2**26


class Outgoing(NamedTuple):
    """One record a member of a log point, or one state a member of a checkpoint."""

    records: Sequence[Record] = ()
    states: Sequence[Mapping[str, Any]] = ()


class Desk:
    """Log points and checkpoints in the order of their steps."""

    def __init__(self) -> None:
        self._waiting: deque[_Paper] = deque()

    def put(self, step: int, records: Sequence[Record], estimates: Pending | None) -> None:
        """Add the log point of a step: one record a member, and what is being estimated of it."""
        held = 0 if estimates is None else estimates.held
        self._waiting.append(_Paper(step, Outgoing(records), estimates, held))

    def put_states(self, step: int, states: Sequence[Mapping[str, Any]], size: int) -> None:
        """Add the checkpoint of a step, which takes so many bytes."""
        self._waiting.append(_Paper(step, Outgoing(states=states), None, size))

    def keeps_back(self, step: int, size: int) -> bool:
        """Whether a checkpoint of a step has to wait for estimates, and there is room for its bytes until then."""
        waits = any(paper.step < step and not paper.done() for paper in self._waiting)
        return waits and sum(paper.held for paper in self._waiting) + size <= HELD

    def take(self, before: float = 0) -> list[Outgoing]:
        """What is complete, first the oldest; log points of steps before `before` are waited for."""
        complete = []
        while self._waiting and (self._waiting[0].step < before or self._full() or self._waiting[0].done()):
            complete.append(self._waiting.popleft().joined())
        return complete

    def _full(self) -> bool:
        return sum(paper.held for paper in self._waiting) > HELD and len(self._waiting) > 1


@dataclass(frozen=True)
class _Paper:
    step: int
    content: Outgoing
    estimates: Pending | None
    held: int

    def done(self) -> bool:
        return self.estimates is None or self.estimates.done()

    def joined(self) -> Outgoing:
        if self.estimates is None:
            return self.content
        both = zip(self.content.records, self.estimates.result(), strict=True)
        return Outgoing([record and record | more for record, more in both])
