"""Writes down one member's way through the loop: records, checkpoints, figures, the end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokplane.options import ConfigError
from grokplane.record import Arrays, Recorder, load_arrays, overrides
from grokplane.record.options import FORMATS
from grokplane.record.rows import METRICS, read_rows
from grokplane.strict_json import flatten
from grokplane.train import GrokMarks, Point, Stack
from grokplane.waiting import Doing

if TYPE_CHECKING:
    from pandas import DataFrame

log = logging.getLogger(__name__)


def grok_summary(stack: Stack, number: int, marks: GrokMarks | None = None) -> dict[str, Any]:
    """One member's marks, by default its present ones, and what they were made by, as summary.json holds them."""
    marks = marks or stack.marks[number]
    return {
        **marks.summary(),
        "threshold": stack.members[number].grok.threshold,
        "questions": stack.members[number].grok.questions,
    }


class MemberWriter:
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

    def begin(self) -> None:
        """Save the state of a new branch, so that from now on it resumes by itself."""
        state = self._stack.state(self._number)
        grok = grok_summary(self._stack, self._number)
        self._recorder.checkpoint(state["step"], {**state, "config": self._config}, grok=grok)

    def take(self, point: Point) -> None:
        """Log, checkpoint and close as the point says; nothing more once the member is done."""
        if self._done:
            return
        if point.records and point.records[self._number]:
            self._recorder.log(point.records[self._number])
        finished = bool(point.finished) and point.finished[self._number]
        if point.checkpoint or point.interrupted or finished:
            state = point.state(self._number)
            step = _steps(state) if finished else state["step"]
            grok = grok_summary(self._stack, self._number, GrokMarks.of(state))
            state = {**state, "step": step, "config": self._config}
            self._recorder.checkpoint(step, state, regular=not finished, grok=grok)
        if finished:
            with Doing("drawing figures"):
                self._draw()
        if finished or point.interrupted:
            self._finish("interrupted" if point.interrupted else "finished", point.state(self._number))

    def close(self) -> dict[str, Any]:
        """The summary as it was written; a member that did not get to its end is interrupted."""
        if not self._done:
            self._finish("interrupted", self._stack.state(self._number))
        return self._recorder.finish("interrupted")

    def _finish(self, status: str, state: Mapping[str, Any]) -> None:
        diverged = state["diverged"]
        with Doing("closing the record"):  # W&B may be uploading
            self._recorder.finish(
                "diverged" if diverged >= 0 else status,
                step=_steps(state),
                grok=grok_summary(self._stack, self._number),
                diverged=diverged if diverged >= 0 else None,
            )
        self._done = True

    def _draw(self) -> None:
        """Draw the figures of the run from its records. A figure that fails does not fail the run."""
        if not self._config["record"]["figures"]:
            return
        folder, config = self._recorder.folder, flatten(self._config)
        try:
            from grokplane import plot

            rows = _drawn(folder, plot.READS, {key: config[key] for key in plot.KEYS if key in config})
            about = plot.about(config, grok_summary(self._stack, self._number), overrides(folder))
        except Exception:
            log.warning("figures/ could not be drawn", exc_info=True)
            return
        formats = config.get("record.figure_format", FORMATS[:1])  # runs begun by an earlier version have no such key
        drawn = [(picture.name, partial(picture.write, rows)) for picture in plot.pictures(rows)]
        arrays = {metric: recorded_arrays(folder, metric) for metric in plot.ARRAY_METRICS}
        drawn += [(one.name, partial(one.write, arrays[one.metric])) for one in plot.array_pictures(arrays)]
        for name, write in drawn:
            try:
                paths = write(about, folder / "figures", formats)
            except Exception:
                log.warning("figures/%s could not be drawn", name, exc_info=True)
            else:
                for path in paths:
                    self._recorder.image(path)


def _steps(state: Mapping[str, Any]) -> int:
    """Return the number of updates; a diverged member has fewer than its stack."""
    return state["diverged"] if state["diverged"] >= 0 else state["step"]


def _drawn(folder: Path, prefixes: tuple[str, ...], config: Mapping[str, Any]) -> DataFrame:
    """Read only the columns that figures show: the memory of all columns grows with the run."""
    import pandas

    rows = (
        {name: value for name, value in row.items() if name == "step" or name.startswith(prefixes)}
        for row in read_rows(folder / METRICS)
    )
    return pandas.DataFrame(rows).assign(run=folder.name, **config)


def recorded_arrays(folder: Path, metric: str) -> dict[str, Arrays]:
    """The arrays of a metric; none if the run has none, or if they cannot be read as one array each."""
    try:
        return load_arrays(folder, metric)
    except FileNotFoundError:
        return {}
    except (ConfigError, ValueError):
        log.warning("arrays/%s.npz could not be read", metric, exc_info=True)
        return {}
