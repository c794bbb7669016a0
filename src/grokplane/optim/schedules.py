"""Learning-rate schedules: a factor on every member's learning rate, as a function of the step."""

import math
from dataclasses import dataclass
from typing import Protocol

from grokplane.options import ConfigError, checked, option


class Schedule(Protocol):
    """A choice of the config group `schedule`; base class of schedules."""

    @property
    def follows_train_steps(self) -> bool:
        """Whether the factor depends on the number of steps, so that a longer run differs from the start."""
        return False

    def check(self, steps: int) -> None:
        """Raise ConfigError if the schedule does not fit a run with this many steps."""

    def __call__(self, step: int, steps: int) -> float:
        """The factor on the learning rate in update `step` (from 0) of `steps`."""
        ...


@dataclass(frozen=True)
class Constant(Schedule):
    """A constant learning rate."""

    def __call__(self, step: int, steps: int) -> float:  # noqa: ARG002 (the protocol's arguments)
        """One."""
        return 1.0


@dataclass(frozen=True)
@checked
class LinearWarmup(Schedule):
    """Linear increase to the full rate over the first updates, then constant."""

    warmup_steps: int = option(10, "updates until the full rate", at_least=1)

    def __call__(self, step: int, steps: int) -> float:  # noqa: ARG002 (the protocol's arguments)
        """(step + 1) / warmup_steps, at most one."""
        return min(1.0, (step + 1) / self.warmup_steps)


@dataclass(frozen=True)
@checked
class Cosine(Schedule):
    """Warm-up, then half a cosine down to a fraction of the rate (Loshchilov and Hutter 2017, without restarts)."""

    warmup_steps: int = option(0, "updates until the full rate", at_least=0)
    final_fraction: float = option(0.0, "factor at the end", at_least=0, at_most=1)
    total_steps: int | None = option(None, "update at which the end is reached; null: train.steps", at_least=1)

    def check(self, steps: int) -> None:
        """Refuse a warm-up that leaves no step for the cosine."""
        end, total = ("schedule.total_steps", self.total_steps) if self.total_steps else ("train.steps", steps)
        if self.warmup_steps and self.warmup_steps >= total:
            raise ConfigError("schedule.warmup_steps", self.warmup_steps, f"must be below {end}={total}")

    @property
    def follows_train_steps(self) -> bool:
        """Whether `total_steps` is not given."""
        return self.total_steps is None

    def __call__(self, step: int, steps: int) -> float:
        """Linear up to warmup_steps, then cosine, then final_fraction."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        length = max(1, (self.total_steps or steps) - self.warmup_steps)  # a run may have no steps
        progress = min(1.0, (step - self.warmup_steps) / length)
        return self.final_fraction + (1 - self.final_fraction) * (1 + math.cos(math.pi * progress)) / 2


GROUP = "schedule"
CHOICES = {"constant": Constant, "linear_warmup": LinearWarmup, "cosine": Cosine}
