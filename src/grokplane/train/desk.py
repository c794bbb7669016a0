"""Log points on their way out: each waits for what is still being estimated of it, and for those before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from grokplane.metrics import Pending
from grokplane.train.observe import Record

# Bytes of activations that log points may keep in memory until they are estimated; the last one always may.
HELD = 2**26


class Desk:
    """Records in the order of their steps, with the estimates that belong to them."""

    def __init__(self) -> None:
        self._waiting: deque[_LogPoint] = deque()

    def put(self, step: int, records: Sequence[Record], estimates: Pending | None) -> None:
        """Add the log point of a step: one record a member, and what is being estimated of it."""
        self._waiting.append(_LogPoint(step, records, estimates))

    def take(self, before: float = 0) -> list[Sequence[Record]]:
        """The log points that are complete, first the oldest; those of steps before `before` are waited for."""
        complete = []
        while self._waiting and (self._waiting[0].step < before or self._full() or self._waiting[0].done()):
            complete.append(self._waiting.popleft().joined())
        return complete

    def _full(self) -> bool:
        held = sum(point.estimates.held for point in self._waiting if point.estimates is not None)
        return held > HELD and len(self._waiting) > 1


@dataclass(frozen=True)
class _LogPoint:
    step: int
    records: Sequence[Record]
    estimates: Pending | None

    def done(self) -> bool:
        return self.estimates is None or self.estimates.done()

    def joined(self) -> Sequence[Record]:
        if self.estimates is None:
            return self.records
        return [record and record | more for record, more in zip(self.records, self.estimates.result(), strict=True)]
