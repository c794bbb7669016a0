"""Log points and checkpoints that wait for what is still being estimated of log points before them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from grokplane.metrics import ARRAYS, Pending
from grokplane.train.observe import Record

# Bytes of activations and states that may be kept in memory until they can go; the last of them always may.
MAX_HELD_BYTES = 2**26


class Ready(NamedTuple):
    """What can be written now: one record a member of a log point, or one state a member of a checkpoint."""

    records: Sequence[Record] = ()
    states: Sequence[Mapping[str, Any]] = ()


class RecordQueue:
    """Log points and checkpoints in the order of their steps."""

    def __init__(self) -> None:
        self._waiting: deque[_Entry] = deque()

    def put(self, step: int, records: Sequence[Record], estimates: Pending | None) -> None:
        """Add the log point of a step: one record a member, and what is being estimated of it."""
        held = (0 if estimates is None else estimates.held) + sum(map(_array_bytes, records))
        self._waiting.append(_Entry(step, Ready(records), estimates, held))

    def put_states(self, step: int, states: Sequence[Mapping[str, Any]], size: int) -> None:
        """Add the checkpoint of a step, which takes so many bytes."""
        self._waiting.append(_Entry(step, Ready(states=states), None, size))

    def keeps_back(self, step: int, size: int) -> bool:
        """Whether a checkpoint of a step has to wait for estimates, and there is room for its bytes until then."""
        waits = any(entry.step < step and not entry.done() for entry in self._waiting)
        return waits and sum(entry.held for entry in self._waiting) + size <= MAX_HELD_BYTES

    def take(self, before: float = 0) -> list[Ready]:
        """What is complete, first the oldest; log points of steps before `before` are waited for."""
        complete = []
        while self._waiting and (self._waiting[0].step < before or self._full() or self._waiting[0].done()):
            complete.append(self._waiting.popleft().joined())
        return complete

    def _full(self) -> bool:
        return sum(entry.held for entry in self._waiting) > MAX_HELD_BYTES and len(self._waiting) > 1


def _array_bytes(record: Record) -> int:
    return sum(values.nbytes for named in record.get(ARRAYS, {}).values() for values in named.values())


@dataclass(frozen=True)
class _Entry:
    step: int
    content: Ready
    estimates: Pending | None
    held: int

    def done(self) -> bool:
        return self.estimates is None or self.estimates.done()

    def joined(self) -> Ready:
        if self.estimates is None:
            return self.content
        both = zip(self.content.records, self.estimates.result(), strict=True)
        return Ready([record and record | more for record, more in both])
