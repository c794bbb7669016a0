"""A queue of log points and checkpoints that wait for unfinished estimates of earlier log points."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from grokplane.metrics import ARRAYS, Pending
from grokplane.train.observe import Record

# Limit on the bytes of activations and states that wait in memory. The newest entry is always accepted.
MAX_HELD_BYTES = 2**26


class Ready(NamedTuple):
    """A complete entry: one record per member of a log point, or one state per member of a checkpoint."""

    records: Sequence[Record] = ()
    states: Sequence[Mapping[str, Any]] = ()


class RecordQueue:
    """Log points and checkpoints in the order of their steps."""

    def __init__(self) -> None:
        self._waiting: deque[_Entry] = deque()

    def put(self, step: int, records: Sequence[Record], estimates: Pending | None) -> None:
        """Append the log point of a step: one record per member, and the estimates in progress."""
        held = (0 if estimates is None else estimates.held) + sum(map(_array_bytes, records))
        self._waiting.append(_Entry(step, Ready(records), estimates, held))

    def put_states(self, step: int, states: Sequence[Mapping[str, Any]], size: int) -> None:
        """Append the checkpoint of a step; `size` is its size in bytes."""
        self._waiting.append(_Entry(step, Ready(states=states), None, size))

    def keeps_back(self, step: int, size: int) -> bool:
        """Whether a checkpoint of a step must wait for estimates, and the queue has room for its bytes."""
        waits = any(entry.step < step and not entry.done() for entry in self._waiting)
        return waits and sum(entry.held for entry in self._waiting) + size <= MAX_HELD_BYTES

    def take(self, before: float = 0) -> list[Ready]:
        """Remove and return the complete entries, oldest first; wait for log points of steps before `before`."""
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
