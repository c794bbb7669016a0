"""Progress of a run: a bar on a terminal, a plain line at intervals elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from tqdm import tqdm

from grokplane.say import note, printable
from grokplane.waiting import Doing, due, on_terminal

_SHOWN = {"loss": "Loss", "accuracy": "Acc"}
_SUBSETS = ("train", "test", "ood")


def bar(label: str, start: int, total: int, unit: str) -> tqdm:
    """Return a progress bar below the existing ones; it is disabled unless standard error is a terminal."""
    return tqdm(
        desc=printable(label) or None,
        initial=start,
        total=total,
        unit=unit,
        leave=None,
        disable=not on_terminal(),
        dynamic_ncols=True,
    )


class Counted(Doing):
    """Work in countable parts: a bar on a terminal, a line from `_plain` at intervals elsewhere."""

    def __init__(self, what: str, bar: tqdm) -> None:
        super().__init__(what)
        self._bar = bar

    def beat(self) -> None:
        """Refresh the bar, or print a line if the last one is too old."""
        if not self._bar.disable:
            self._bar.refresh()
        elif due():
            self._plain()

    def clear(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()

    def _plain(self) -> None:
        raise NotImplementedError


class Progress(Counted):
    """Steps done, steps per second, time left, and the last losses and accuracies (means over a stack) with their step.

    Values that are estimated beside training arrive some steps later, so each line names the step of its values.
    """

    def __init__(self, start: int, steps: int, label: str = "") -> None:
        super().__init__(label, bar(label, start, steps, " steps"))
        self._label = f"{label}: " if label else ""
        self._start, self._steps, self._step = start, steps, start
        self._seen, self._text = start, ""
        self._stepped, self._ended = self._began, False

    def show(self, step: int, records: Sequence[Mapping[str, float]]) -> None:
        """Report that `step` updates are done. `records` belong to this log point or to an earlier one."""
        self._stepped = self._stepped if step == self._step else time.monotonic()
        self._step, first = step, not self._text
        records = [record for record in records if record]
        if records:
            self._seen = int(records[0]["step"])
            self._text = ", ".join(
                _means(name, records, key) for name, key in _SHOWN.items() if f"{key}/train" in records[0]
            )
        self._bar.update(step - self._bar.n)
        if not self._bar.disable:
            self._bar.set_postfix_str(self._values(), refresh=False)
        elif self._text and (first or due() or (records and self._seen == self._steps)):
            self._plain()

    def _plain(self) -> None:
        if not self._ended:  # the last step can have several points
            note(f"{self._label}{self._values(self._pace())}")
        self._ended = self._seen == self._steps

    def _values(self, pace: str = "") -> str:
        """Return the last values with their step, and the present step if it differs."""
        if not self._text:
            return f"step {self._step:,}/{self._steps:,}{pace}"
        values = f"step {self._seen:,}/{self._steps:,}: {self._text}" if self._bar.disable else self._text
        if self._seen == self._step:
            return f"{values}{pace}"
        values = values if self._bar.disable else f"step {self._seen:,}: {values}"
        if self._step == self._steps:
            waiting = f"waiting for estimates{self._waited()}"
            return f"{values}; all steps are done, {waiting}"
        return f"{values}; trained to step {self._step:,}{pace}"

    def _waited(self) -> str:
        return f" ({time.monotonic() - self._stepped:.0f} s)" if self._bar.disable else ""

    def _pace(self) -> str:
        until = self._stepped if self._step == self._steps else time.monotonic()
        rate = (self._step - self._start) / max(until - self._began, 1e-9)
        shown = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        return f", {shown} steps/s, {clock((self._steps - self._step) / rate)} left" if rate > 0 else ""


class Preparation(Doing):
    """A bar, or lines at intervals, for one-time work before the first step; nothing is shown without such work."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self._bar: tqdm | None = None
        self._done = ""

    def show(self, done: int, total: int) -> None:
        """Report that `done` of `total` steps are done."""
        if self._bar is None:
            super().clear()
            self._bar = bar(self._what, 0, total, " steps")
        self._bar.update(done - self._bar.n)
        self._done = f": step {done:,}/{total:,}"

    def beat(self) -> None:
        """Refresh the bar, or print a line."""
        if self._bar is None:
            super().beat()
        elif not self._bar.disable:
            self._bar.refresh()
        elif due():
            note(f"{self._what}{self._done}")

    def clear(self) -> None:
        """Leave the bar as it is."""
        super().clear()
        if self._bar is not None:
            self._bar.close()


def _means(name: str, records: Sequence[Mapping[str, float]], metric: str) -> str:
    """The means over records of the subsets that they have: `loss train 0.1 test 0.2`."""
    keys = {subset: f"{metric}/{subset}" for subset in _SUBSETS if f"{metric}/{subset}" in records[0]}
    means = {subset: sum(record[key] for record in records) / len(records) for subset, key in keys.items()}
    return " ".join([name, *(f"{subset} {mean:.3g}" for subset, mean in means.items())])


def clock(seconds: float) -> str:
    """Format seconds as `m:ss`, or as `h:mm:ss` from one hour on."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
