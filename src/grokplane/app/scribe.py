"""Writes down one member's way through the loop: records, checkpoints, figures, the end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from grokplane.record import Recorder, load
from grokplane.train import Point, Stack

log = logging.getLogger(__name__)


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
        if point.records:
            self._recorder.log({"step": point.step, **point.records[self._number]})
        finished = bool(point.finished) and point.finished[self._number]
        if point.checkpoint or point.interrupted or finished:
            state = self._stack.state(self._number) | {"config": self._config}
            self._recorder.checkpoint(point.step, state, regular=not finished)
        if finished:
            self._draw()
        if finished or point.interrupted:
            self._finish("interrupted" if point.interrupted else "finished", point.step)

    def close(self) -> dict[str, Any]:
        """The summary as it was written."""
        return self._recorder.finish("interrupted")

    def _finish(self, status: str, step: int) -> None:
        diverged = int(self._stack.diverged[self._number])
        self._recorder.finish(
            "diverged" if diverged >= 0 else status,
            step=step,
            grok=self._grok(),
            diverged=diverged if diverged >= 0 else None,
        )
        self._done = True

    def _grok(self) -> dict[str, Any]:
        marks = self._stack.marks[self._number]
        threshold = self._stack.members[self._number].grok.threshold
        return {
            "train_step": marks.train_step,
            "test_step": marks.test_step,
            "delay": marks.delay,
            "threshold": threshold,
        }

    def _draw(self) -> None:
        """Draw the run's figures from what was recorded; a picture that fails must not fail the run."""
        if not self._config["record"]["figures"]:
            return
        from grokplane import plot

        folder, grok = self._recorder.folder, self._grok()
        marks = {name: grok[name] for name in ("train_step", "test_step")}
        try:
            figure = plot.curves(
                load(folder), marks=marks, threshold=grok["threshold"], title=str(self._config["name"])
            )
            plot.save(figure, folder / "figures" / "curves.png")
        except Exception:
            log.warning("figures/curves.png could not be drawn", exc_info=True)
            return
        self._recorder.image("curves", folder / "figures" / "curves.png")
