"""The contract of a callback: a choice of the config group `callbacks` makes one hook for each member."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LogPoint:
    """One member at a log point, before the update of that step.

    Attributes:
        step: number of updates done.
        values: the member's metrics by name, as `metrics.jsonl` will hold them. Information is not among them: its
            estimates are complete some steps later.
        state: gives the member's state as a checkpoint holds it: "model", "optimizer" and so on.
    """

    step: int
    values: Mapping[str, float]
    state: Callable[[], Mapping[str, Any]]


class Hook:
    """Sees one member's log points in ascending order of their steps.

    The base class remembers its attributes, which must be numbers, strings, None, or lists and dicts of these. A
    checkpoint holds what the hook remembered before the log point of its step, as a resumed run shows that log point
    again. A hook's decisions may depend on nothing else, so that a resumed run is the run that was never interrupted.
    """

    def __call__(self, point: LogPoint) -> bool:
        """Look at a log point; True ends the member there."""
        raise NotImplementedError(f"{type(self).__name__} looks at nothing")

    def state(self) -> dict[str, Any]:
        """What the hook remembers."""
        return dict(vars(self))

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Remember what `state` gave."""
        vars(self).update(state)


class Callback:
    """A choice of the config group `callbacks`: a frozen dataclass derived from this class."""

    def check(self, names: Collection[str]) -> None:
        """Raise ConfigError if the callback cannot work with metrics that give these values by name."""

    def hook(self) -> Hook:
        """The hook of one member."""
        raise NotImplementedError(f"{type(self).__name__} makes no hook")
