"""Writes down one member's way through the loop: records, checkpoints, figures, the end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from grokplane.record import Recorder
from grokplane.record.rows import METRICS, read_rows
from grokplane.train import Point, Stack

log = logging.getLogger(__name__)


# What the figures show: reading more would cost memory that grows with the run.
DRAWN = ("Acc/", "Loss/", "WN/")


def grok_summary(stack: Stack, number: int) -> dict[str, Any]:
    """One member's marks and the threshold that they used, as summary.json holds them."""
    marks = stack.marks[number]
    threshold = stack.members[number].grok.threshold
    return {
        "train_step": marks.train_step,
        "test_step": marks.test_step,
        "delay": marks.delay,
        "threshold": threshold,
    }


class Scribe:
    """One member of a stack and the recorder of its folder.

    Args:
        stack: the stack in training.
        number: which of its members.
        recorder: the member's folder.
        config: the member's config as plain dicts, stored in every checkpoint.
    """

    def __init__(self, stack: Stack, number: int, recorder: Recorder, config: Mapping[str, Any]) -> None:
        self._stack, self._number, self._recorder, self._config = stack, number, recorder, config
        self._done = False

    def take(self, point: Point) -> None:
        """Log, checkpoint and close as the point says; nothing more once the member is done."""
        if self._done:
            return
        if point.records and point.records[self._number]:
            self._recorder.log(point.records[self._number])
        finished = bool(point.finished) and point.finished[self._number]
        if point.checkpoint or point.interrupted or finished:
            step, grok = self._stack.step_of(self._number), grok_summary(self._stack, self._number)
            state = self._stack.state(self._number) | {"step": step, "config": self._config}
            self._recorder.checkpoint(step, state, regular=not finished, grok=grok)
        if finished:
            self._draw()
        if finished or point.interrupted:
            self._finish("interrupted" if point.interrupted else "finished")

    def close(self) -> dict[str, Any]:
        """The summary as it was written."""
        return self._recorder.finish("interrupted")

    def _finish(self, status: str) -> None:
        diverged = int(self._stack.diverged[self._number])
        self._recorder.finish(
            "diverged" if diverged >= 0 else status,
            step=self._stack.step_of(self._number),
            grok=grok_summary(self._stack, self._number),
            diverged=diverged if diverged >= 0 else None,
        )
        self._done = True

    def _draw(self) -> None:
        """Draw the run's figures from what was recorded; a picture that fails must not fail the run."""
        if not self._config["record"]["figures"]:
            return
        import pandas

        from grokplane import plot

        folder, grok = self._recorder.folder, grok_summary(self._stack, self._number)
        try:
            rows = pandas.DataFrame(
                {name: value for name, value in row.items() if name == "step" or name.startswith(DRAWN)}
                for row in read_rows(folder / METRICS)
            ).assign(run=folder.name)
            title = str(self._config["name"])
            figure = plot.curves(rows, marks=grok, threshold=grok["threshold"], title=title)
            plot.save(figure, folder / "figures" / "curves.png")
        except Exception:
            log.warning("figures/curves.png could not be drawn", exc_info=True)
            return
        self._recorder.image("curves", folder / "figures" / "curves.png")
