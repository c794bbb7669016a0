"""Marks of a learning curve: when an accuracy reached a threshold, and whether it stayed there. A part of the floor.

`marks` takes the recorded curve of any run, `Track` one evaluation after the other, and `summarise` the marks of
several seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from numbers import Integral
from typing import Any

import numpy as np

from grokplane.options import ConfigError

Step = int | float
RESAMPLES = 1000  # of the bootstrap
LEVEL = 0.95  # of its interval


@dataclass(frozen=True)
class Marks:
    """Marks of one curve at one threshold; a step is None if it was never reached (censored).

    Attributes:
        first: first evaluation at or above the threshold.
        sustained: first evaluation at or above the threshold that is followed by so many more at or above it.
        stable: first evaluation at or above the threshold after which none is below it, to the end of the curve.
        below: number of evaluations below the threshold after the sustained one; 0 without one.
        lowest: lowest accuracy after the sustained evaluation; None without one, and if no number follows it.
        collapses: number of separate excursions below the threshold after the sustained evaluation.
        last_collapse: step of the last evaluation below the threshold after the sustained one; None if there is none.
    """

    first: Step | None
    sustained: Step | None
    stable: Step | None
    below: int
    lowest: float | None
    collapses: int
    last_collapse: Step | None


@dataclass
class Track:
    """The marks of a curve so far; `see` takes one evaluation. All fields are plain numbers, for checkpoints.

    Attributes:
        threshold: accuracy that counts as reached.
        sustain: how many evaluations at or above it must follow the sustained one.
        first, sustained, stable, below, collapses, last_collapse: see `Marks`.
        held: number of evaluations at or above the threshold since the last one below it.
        low: lowest accuracy after the sustained evaluation, or after the one that may become it; infinite if none.
    """

    threshold: float
    sustain: int
    first: Step | None = None
    sustained: Step | None = None
    stable: Step | None = None
    below: int = 0
    collapses: int = 0
    last_collapse: Step | None = None
    held: int = 0
    low: float = math.inf

    def see(self, step: Step, accuracy: float) -> None:
        """Take an evaluation; steps must ascend. NaN is below every threshold."""
        reached = accuracy >= self.threshold
        if reached and self.held == 0 and self.sustained is None:
            self.low = math.inf  # this evaluation may become the sustained one
        elif accuracy < self.low:
            self.low = accuracy
        if reached:
            self._reach(step)
        else:
            self._fall(step)

    def _reach(self, step: Step) -> None:
        self.first = step if self.first is None else self.first
        self.stable = step if self.held == 0 else self.stable
        self.held += 1
        if self.sustained is None and self.held > self.sustain:
            self.sustained = self.stable

    def _fall(self, step: Step) -> None:
        if self.sustained is not None:
            self.below += 1
            self.collapses += self.held > 0
            self.last_collapse = step
        self.held, self.stable = 0, None

    @property
    def marks(self) -> Marks:
        """The marks of the evaluations so far."""
        known = self.sustained is not None and math.isfinite(self.low)
        return Marks(
            self.first,
            self.sustained,
            self.stable,
            self.below,
            self.low if known else None,
            self.collapses,
            self.last_collapse,
        )

    def state(self) -> dict[str, Any]:
        """The fields as a dict; `Track(**state)` goes on from there."""
        return asdict(self)

    @classmethod
    def holds(cls, state: object) -> bool:
        """Whether a state, which may come from other people, has the fields of `state`, all of them numbers."""
        if not isinstance(state, dict) or state.keys() != {spec.name for spec in fields(cls)}:
            return False
        counts = all(type(state[name]) is int for name in ("sustain", "below", "collapses", "held"))
        steps = all(_is_step(state[name]) for name in ("first", "sustained", "stable", "last_collapse"))
        return counts and steps and all(type(state[name]) is float for name in ("threshold", "low"))


def _is_step(value: object) -> bool:
    return value is None or type(value) is int or (type(value) is float and math.isfinite(value))


def marks(steps: Iterable[Any], accuracy: Iterable[Any], threshold: float = 0.95, sustained: int = 5) -> Marks:
    """The marks of a recorded curve.

    Args:
        steps: ascending steps of the evaluations: a sequence, a numpy array or a pandas column.
        accuracy: accuracy from 0 to 1 at each of them; NaN and None are below every threshold.
        threshold: accuracy that counts as reached, above 0 and at most 1.
        sustained: how many further evaluations at or above the threshold must follow the sustained one.

    Raises:
        ConfigError: lengths differ, steps do not ascend, an accuracy is not between 0 and 1 (percentages?), or the
            threshold or the number of evaluations is out of range. It is a ValueError.
    """
    if not (0 < threshold <= 1):
        raise ConfigError("threshold", threshold, "must be above 0 and at most 1")
    if isinstance(sustained, bool) or not isinstance(sustained, Integral) or sustained < 0:
        raise ConfigError("sustained", sustained, "must be a whole number, at least 0")
    track = Track(float(threshold), int(sustained))
    for step, value in _curve(list(steps), list(accuracy)):
        track.see(step, value)
    return track.marks


def _curve(steps: Sequence[Any], accuracy: Sequence[Any]) -> list[tuple[Step, float]]:
    """The checked evaluations of a recorded curve."""
    if len(steps) != len(accuracy):
        raise ConfigError("accuracy", f"{len(accuracy)} values", f"must be as many as the {len(steps)} steps")
    curve, before = list[tuple[Step, float]](), -math.inf
    for given, value in zip(steps, accuracy, strict=True):
        step, share = _number("steps", given), _number("accuracy", value)
        if not (step > before and math.isfinite(step)):
            raise ConfigError("steps", f"{given} after {before:g}", "must be numbers that ascend, each step once")
        if share < 0 or share > 1 + 1e-9:
            raise ConfigError("accuracy", value, "must be from 0 to 1; divide percentages by 100")
        curve.append((int(step) if step.is_integer() else step, share))
        before = step
    return curve


def _number(key: str, value: Any) -> float:
    if value is None or type(value).__name__ == "NAType":  # a missing value of pandas
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(key, value, "must be one number for each evaluation") from None


@dataclass(frozen=True)
class Seeds:
    """The steps at which several runs reached a mark; None is a censored value.

    Attributes:
        n: number of runs.
        grokked: number of runs that reached the mark.
        median: median step, in which a censored run counts as later than all others; None if half of the runs or more
            are censored.
        low: lower end of the bootstrap interval of the median; None if it is censored.
        high: upper end; None if it is censored.
    """

    n: int
    grokked: int
    median: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        """In words: `4 of 5, median 2,388 (1,900 to never)`."""
        told = f"{self.grokked} of {self.n}"
        if self.grokked == 0:
            return told
        median, low, high = ("never" if one is None else f"{one:,.0f}" for one in (self.median, self.low, self.high))
        return f"{told}, median {median}" + (f" ({low} to {high})" if self.n > 1 else "")


def summarise(steps: Iterable[Step | None], *, seed: int = 0) -> Seeds:
    """The median of a mark over runs with a percentile bootstrap interval at 95%, without leaving out censored runs.

    The interval resamples the runs 1,000 times (Efron 1979). Its ends are order statistics of the resampled medians, so
    that censored medians need no arithmetic.

    Args:
        steps: the mark of each run; None, NaN and infinity are censored.
        seed: seed of the resampling.
    """
    known = np.array([math.inf if one is None or math.isnan(one) else one for one in steps], dtype=float)
    grokked = int(np.isfinite(known).sum())
    if not known.size:
        return Seeds(0, 0, None, None, None)
    drawn = np.random.default_rng(seed).integers(len(known), size=(RESAMPLES, len(known)))
    medians = np.sort(np.median(known[drawn], axis=1))
    tail = round(RESAMPLES * (1 - LEVEL) / 2)
    ends = (np.median(known), medians[tail], medians[-1 - tail])
    return Seeds(len(known), grokked, *(float(one) if np.isfinite(one) else None for one in ends))


def shown(threshold: float) -> str:
    """A threshold as a text and a key: `0.95`, and `1` for 1.0."""
    return str(float(threshold)).removesuffix(".0")
