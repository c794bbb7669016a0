"""Early stopping by a condition on any metric."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from grokplane.callbacks.base import Callback, Hook, LogPoint
from grokplane.callbacks.condition import Condition
from grokplane.options import ConfigError, checked, did_you_mean, option

WHEN = "callbacks.early_stop.when"


@dataclass(frozen=True)
@checked
class EarlyStop(Callback):
    """Ends a member at the first log point at least `after` steps past the first one at which `when` held."""

    when: str = option(
        "Acc/test>=0.99", "condition on metrics: comparisons (> >= < <= == !=) joined by and, or", text=True
    )
    after: int = option(0, "stop this many steps after the condition first held", at_least=0)

    def __post_init__(self) -> None:
        if not self._condition.names:
            raise ConfigError(WHEN, self.when, "must name a metric")

    @property
    def _condition(self) -> Condition:
        try:
            return Condition.parse(self.when)
        except ValueError as error:
            allowed = f"{error}; allowed: comparisons such as Acc/test>=0.99, joined by and, or"
            raise ConfigError(WHEN, self.when, allowed) from None

    def check(self, names: Collection[str]) -> None:
        """Refuse a metric that the run does not measure, or that a clock measures."""
        for name in self._condition.names:
            if name.startswith("time/"):
                raise ConfigError(WHEN, self.when, f"{name} is wall time, which differs from run to run")
            if name not in names:
                meant = did_you_mean(name, names) or "docs/metrics.md lists names"
                why = f"the run's metrics give no value {name}; {meant}"
                if name.startswith(("MI(", "H(")):
                    why = f"{name} is estimated beside training and comes later than its step; use a metric"
                raise ConfigError(WHEN, self.when, why)

    def hook(self) -> Hook:
        """The hook of one member."""
        return _Watch(self._condition, self.after)


class _Watch(Hook):
    def __init__(self, condition: Condition, after: int) -> None:
        self._condition, self._after = condition, after
        self.since: int | None = None

    def __call__(self, point: LogPoint) -> bool:
        """Note when the condition first held; whether that is `after` steps ago."""
        if self.since is None and self._condition.holds(point.values):
            self.since = point.step
        return self.since is not None and point.step >= self.since + self._after

    def state(self) -> dict[str, int | None]:
        """The step at which the condition first held."""
        return {"since": self.since}


GROUP = "callbacks"
CHOICES = {"early_stop": EarlyStop}
