"""Progress of a sweep over its cells. The progress of a stack over its steps is shown below it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence

from grokplane.app.progress import Counted, bar, clock
from grokplane.say import note, printable
from grokplane.sweep.stack_job import StackResult


class SweepProgress(Counted):
    """A bar over cells on a terminal; elsewhere a line for each stack that ends.

    Args:
        cells: number of cells of the sweep.
        over: number of cells that were over before.
    """

    def __init__(self, cells: int, over: int) -> None:
        super().__init__("cells", bar("cells", over, cells, " cells"))
        self._cells, self._done = cells, over
        self._counts: Counter[str] = Counter()

    def plan(self, lines: Sequence[str]) -> None:
        """Print the planned stacks."""
        if self._done:
            self._say(f"{self._done} of {self._cells} cells are over")
        for line in lines:
            self._say(line)

    def ended(self, result: StackResult) -> None:
        """Record a stack that ended."""
        pairs = zip(result.summaries, result.errors, strict=True)
        self._counts.update("failed" if error else "lost" if told is None else told["status"] for told, error in pairs)
        self._done += len(result.summaries)
        told = ", ".join(f"{count} {name}" for name, count in self._counts.items())
        self._bar.set_postfix_str(told, refresh=False)
        self._bar.update(len(result.summaries))
        if self._bar.disable:
            self._plain()

    def _plain(self) -> None:
        told = ", ".join(f"{count} {name}" for name, count in self._counts.items()) or "none has ended"
        self._say(f"cells {self._done}/{self._cells}: {told}; {clock(time.monotonic() - self._began)} gone")

    def _say(self, line: str) -> None:
        if self._bar.disable:
            note(line)
        else:
            self._bar.write(printable(line), file=sys.stderr)
