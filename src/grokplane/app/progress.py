"""How far a run is: a bar on a terminal, a plain line every so often elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from tqdm import tqdm

from grokplane.say import note, printable

SECONDS_BETWEEN_LINES = 10.0
_SHOWN = (("loss", "Loss/train", "Loss/test"), ("accuracy", "Acc/train", "Acc/test"))


def bar(label: str, start: int, total: int, unit: str) -> tqdm:
    """A bar below those that stand already; none where standard error is not a terminal."""
    on_terminal = sys.stderr.isatty()
    return tqdm(
        desc=printable(label) or None,
        initial=start,
        total=total,
        unit=unit,
        leave=None,
        disable=not on_terminal,
        dynamic_ncols=True,
    )


class Progress:
    """Steps done, steps a second, time left, and the latest losses and accuracies (means over a stack)."""

    def __init__(self, start: int, steps: int, label: str = "") -> None:
        self._bar = bar(label, start, steps, " steps")
        self._label = f"{label}: " if label else ""
        self._start, self._steps, self._text = start, steps, ""
        self._began = time.monotonic()
        self._last_line: float | None = None

    def show(self, step: int, records: Sequence[Mapping[str, float]]) -> None:
        """Note that `step` updates are done; `records` are those of a log point, this one or one shortly before."""
        records = [record for record in records if record]
        if records:
            self._text = ", ".join(_pair(name, records, keys) for name, *keys in _SHOWN if keys[0] in records[0])
            self._bar.set_postfix_str(self._text, refresh=False)
        self._bar.update(step - self._bar.n)
        if self._bar.disable and self._text:
            self._plain(int(records[0]["step"]) if records else step)

    def _plain(self, step: int) -> None:
        now = time.monotonic()
        if not (step == self._steps or self._last_line is None or now - self._last_line >= SECONDS_BETWEEN_LINES):
            return
        self._last_line = now
        rate = (step - self._start) / max(now - self._began, 1e-9)
        pace = f", {rate:,.0f} steps/s, {clock((self._steps - step) / rate)} left" if rate > 0 else ""
        note(f"{self._label}step {step:,}/{self._steps:,}: {self._text}{pace}")

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()


class Preparation:
    """A bar, or a line every so often, for what is done once before the first step; nothing if nothing is done."""

    def __init__(self, label: str) -> None:
        self._label, self._last_line = label, time.monotonic()
        self._bar: tqdm | None = None

    def show(self, done: int, total: int) -> None:
        """Note that so many of all steps are done."""
        if self._bar is None:
            self._bar = bar(self._label, 0, total, " steps")
        self._bar.update(done - self._bar.n)
        if self._bar.disable and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            note(f"{self._label}: step {done:,}/{total:,}")

    def __enter__(self) -> Preparation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def _pair(name: str, records: Sequence[Mapping[str, float]], keys: Sequence[str]) -> str:
    means = [sum(record[key] for record in records) / len(records) for key in keys]
    return f"{name} train {means[0]:.3g} test {means[1]:.3g}"


def clock(seconds: float) -> str:
    """Minutes and seconds, hours where there are any."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
