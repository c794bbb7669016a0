"""At which steps a run saves a checkpoint, and which checkpoints stay."""

from __future__ import annotations

import re
from dataclasses import dataclass

from grokplane.options import ConfigError
from grokplane.train.log_points import LogOptions, geometric_at_least

ALL, LOG_POINTS = "all", "log_points"
_SERIES = re.compile(r"([1-9][0-9]{0,3})/decade")
LAST = 2  # of the regular checkpoints beside a series, so that a damaged one leaves another to go on from


def check_keep(keep: int | str) -> None:
    """Raise ConfigError for a word that `train.keep_checkpoints` does not have."""
    if isinstance(keep, str) and keep not in (ALL, LOG_POINTS) and not _SERIES.fullmatch(keep):
        allowed = f"must be a whole number of at least 1, {ALL}, {LOG_POINTS}, or N/decade such as 8/decade"
        raise ConfigError("train.keep_checkpoints", keep, allowed)


@dataclass(frozen=True)
class CheckpointSteps:
    """The checkpoints of a run, beside that of its last step.

    Powers of two and multiples of `every` have one in every run. A series asked for by `keep` has further ones.

    Attributes:
        every: `train.checkpoint_every`.
        keep: `train.keep_checkpoints`.
        log: the run's log points.
    """

    every: int
    keep: int | str
    log: LogOptions

    @property
    def last(self) -> int | None:
        """How many stay of those that neither are powers of two nor belong to the series; None: all."""
        return None if self.keep == ALL else self.keep if isinstance(self.keep, int) else LAST

    def regular(self, step: int) -> bool:
        """Whether a step has a checkpoint in every run with this `every`."""
        return step > 0 and (step & (step - 1) == 0 or step % self.every == 0)

    def stays(self, step: int) -> bool:
        """Whether a step belongs to the series, whose checkpoints all stay."""
        if self.keep == LOG_POINTS:
            return self.log.due(step)
        return self._per_decade is not None and step == geometric_at_least(step, self._per_decade)

    def due(self, step: int) -> bool:
        """Whether a step has a checkpoint."""
        return self.regular(step) or self.stays(step)

    def next_after(self, step: int) -> int:
        """The first step after this one that has a checkpoint."""
        found = [(step // self.every + 1) * self.every, 1 << step.bit_length()]
        if self.keep == LOG_POINTS:
            found.append(self.log.next_after(step))
        if self._per_decade is not None:
            found.append(geometric_at_least(step + 1, self._per_decade))
        return min(found)

    @property
    def _per_decade(self) -> int | None:
        found = _SERIES.fullmatch(self.keep) if isinstance(self.keep, str) else None
        return int(found[1]) if found else None
