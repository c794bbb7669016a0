"""The config group `mi`: how mutual information is measured at every log point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from grokplane.metrics.exact import Exact, Levels
from grokplane.metrics.gauge import Gauge, Inputs, beside_training
from grokplane.options import ConfigError, checked, option
from grokplane.unread import Surroundings


class InformationChoice(Protocol):
    """A choice of the config group `mi`."""

    @property
    def workers(self) -> int:
        """Number of threads or processes that measure concurrently with training."""
        ...

    def gauge(self, inputs: Inputs) -> Gauge | None:
        """Make the gauge of a stack with these inputs; None if nothing is measured.

        Raises:
            ConfigError: if this choice cannot measure such inputs.
        """
        ...


@dataclass(frozen=True)
@checked
class Information:
    """I(X;L), I(L;Y), I(X;L|Y) of every layer L on every subset; I(L;a), I(L;b) for tasks with two operands.

    The values are exact: the inputs of a subset are a finite set, so that the noiseless activations of a layer plus
    Gaussian noise are a mixture with known centres. The standard deviation of the noise in a coordinate is the
    resolution times the root mean square distance of the layer's rows from their mean (docs/mi.md).
    """

    ladder: list[float] = option(
        [0.1, 0.2, 0.3, 0.5, 0.8],
        "resolutions at which layers are measured, in addition to mi.resolution",
        at_least=1e-3,
        at_most=1e3,
    )
    resolution: float = option(
        0.2,
        "resolution of the information plane, also measured; its names have no suffix",
        at_least=1e-3,
        at_most=1e3,
    )
    draws: int = option(
        200, "rows sampled per value, even; four times as many halve the errors", at_least=4, at_most=1_000_000
    )
    workers: int = option(
        1,
        "threads, or processes in long runs, that measure during training; with 0, and on a GPU, training waits",
        at_least=0,
        at_most=64,
    )

    def __post_init__(self) -> None:
        if len({f"{level:g}" for level in self.levels}) < len(self.levels):
            raise ConfigError(
                "mi.ladder", self.ladder, "must differ from each other and from mi.resolution in six digits"
            )
        if self.draws % 2:
            raise ConfigError("mi.draws", self.draws, "must be even: rows are sampled in pairs")

    @property
    def levels(self) -> tuple[float, ...]:
        """All resolutions in ascending order."""
        return tuple(sorted({*self.ladder, self.resolution}))

    def gauge(self, inputs: Inputs) -> Gauge:
        """See `InformationChoice`."""
        levels = Levels(self.levels, self.resolution, self.draws)
        return Gauge(Exact(levels, self.workers, inputs.seen), inputs)

    def unread(self, around: Surroundings) -> dict[str, str]:
        """See `grokplane.unread`."""
        return beside_training(around)


@dataclass(frozen=True)
class Off:
    """No mutual information."""

    @property
    def workers(self) -> int:
        """Always 0."""
        return 0

    def gauge(self, inputs: Inputs) -> None:  # noqa: ARG002 (the signature of a choice)
        """See `InformationChoice`."""
        return None


GROUP = "mi"
CHOICES = {"information": Information, "off": Off}
