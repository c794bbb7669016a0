"""Log points on their way out: each waits for what is still being estimated of it, and for those before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from grokplane.metrics import Pending
from grokplane.train.observe import Record

# Log points whose estimates may be under way together. One more would keep another set of activations in memory.
WAITING = 1


class Desk:
    """Records in the order of their steps, with the estimates that belong to them."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Sequence[Record], Pending | None]] = deque()

    def put(self, records: Sequence[Record], estimates: Pending | None) -> None:
        """Add a log point: one record a member, and what is being estimated of it."""
        self._waiting.append((records, estimates))

    def take(self, wait: bool) -> list[Sequence[Record]]:
        """The log points that are complete, first the oldest; with `wait` all of them."""
        complete = []
        while self._waiting and (wait or len(self._waiting) > WAITING or _done(self._waiting[0][1])):
            complete.append(_joined(*self._waiting.popleft()))
        return complete


def _done(estimates: Pending | None) -> bool:
    return estimates is None or estimates.done()


def _joined(records: Sequence[Record], estimates: Pending | None) -> Sequence[Record]:
    if estimates is None:
        return records
    return [record and record | more for record, more in zip(records, estimates.result(), strict=True)]
