"""The log points: steps at which everything is measured."""

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache

from grokplane.options import checked, option
from grokplane.unread import Surroundings


@dataclass(frozen=True)
@checked
class LogOptions:
    """The config group `log`: the steps at which everything is measured."""

    dense_steps: int = option(30, "number of first steps that are all logged", at_least=0)
    every: int = option(100, "steps between log points after those", at_least=1)
    points_per_decade: int | None = option(
        None, "geometrically spaced log points per decade, in place of log.every", at_least=1, at_most=10_000
    )

    def unread(self, around: Surroundings) -> dict[str, str]:  # noqa: ARG002 (its own keys decide)
        """See `grokplane.unread`."""
        geometric = self.points_per_decade is not None
        return {"every": f"log.points_per_decade={self.points_per_decade} replaces it"} if geometric else {}

    def due(self, step: int) -> bool:
        """Whether `step` is a log point. The last step of a run is always one, independent of this result."""
        if step < self.dense_steps:
            return True
        if self.points_per_decade is None:
            return step % self.every == 0
        return step == geometric_at_least(step, self.points_per_decade)

    def next_after(self, step: int) -> int:
        """The first log point after `step`."""
        if step + 1 < self.dense_steps:
            return step + 1
        if self.points_per_decade is None:
            return (step // self.every + 1) * self.every
        return geometric_at_least(step + 1, self.points_per_decade)

    def takes(self, step: int, every: int) -> bool:
        """Whether a metric of this `every` takes the log point of a step.

        A function of the step alone, so that a resumed run logs the same points. The first log point is always taken,
        and so is a step that is none: there a run or a member ends.
        """
        return every == 1 or not self.due(step) or self._number(step) % every == 0

    def _number(self, step: int) -> int:
        """How many log points come before the one of this step."""
        if step < self.dense_steps:
            return step
        if self.points_per_decade is None:
            return self.dense_steps + step // self.every - -(-self.dense_steps // self.every)
        points = _geometric(self.points_per_decade, len(str(step)))
        return self.dense_steps + bisect_left(points, step) - bisect_left(points, self.dense_steps)

    def count(self, steps: int) -> int:
        """Approximate number of log points of a run with this many steps."""
        dense = min(self.dense_steps, steps)
        if self.points_per_decade is None:
            return dense + steps // self.every
        return dense + int(self.points_per_decade * math.log10(max(1, steps)))


@cache
def _geometric(points_per_decade: int, digits: int) -> list[int]:
    """The points of `geometric_at_least` with at most so many digits, ascending."""
    powers = range(digits * points_per_decade + 1)
    return sorted({0, *(round(10 ** (k / points_per_decade)) for k in powers)})


def geometric_at_least(step: int, points_per_decade: int) -> int:
    """The first of 0, 1 and the rounded powers 10^(k / points_per_decade) that is at least `step`."""
    if step <= 1:
        return step
    k = max(0, len(str(step)) - 1) * points_per_decade
    while round(10 ** (k / points_per_decade)) < step:
        k += 1
    return round(10 ** (k / points_per_decade))


GROUP = "log"
CHOICES = {"default": LogOptions}
