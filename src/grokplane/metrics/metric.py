"""The base class of metrics, and the type of arrays that metrics return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from torch import Tensor

from grokplane.metrics.observation import Observation
from grokplane.options import checked, option


@dataclass(frozen=True, eq=False)
class Array:
    """An array per member instead of a number: a spectrum, a matrix.

    Arrays are recorded in `arrays/<metric>.npz` next to `metrics.jsonl`, and not sent to W&B.

    Attributes:
        values: array [E, ...] of a dtype that NumPy supports, including complex dtypes.
    """

    values: Tensor


@dataclass(frozen=True)
@checked
class Metric:
    """Base of all metrics: a metric is a frozen dataclass that is called with an observation and returns values.

    A metric declares its requirements as class variables. `reads = "labels"`: answers are class labels.
    `needs_gradients = True`: gradients, which are cheaper if declared. `needs_layers = True`: all layers of both
    subsets, so that a task whose layers do not fit into memory is refused. `needs_group = True`: operands that are
    elements of a group (`Observation.operand_groups`). `needs_initial = True`: the initial weights
    (`Observation.initial`). `tracks = True`: extremes between log points (`Observation.tracked`), with a field `jump`.
    `absent_if_nan = True`: a value that is NaN is left out of the member's record.
    """

    absent_if_nan: ClassVar[bool] = False

    _: KW_ONLY
    every: int = option(1, "logged at one log point in so many, and at the first and the last", at_least=1)

    def __call__(self, seen: Observation) -> Mapping[str, Tensor | Array]:
        """Values by name: numbers [E], and arrays wrapped in `Array`."""
        raise NotImplementedError(f"{type(self).__name__} does not implement __call__")


@dataclass(frozen=True)
@checked
class LoggedSeldom(Metric):
    """Base of an expensive metric, which by default is logged at one log point in ten."""

    _: KW_ONLY
    every: int = option(10, "logged at one log point in so many, and at the first and the last", at_least=1)


@dataclass(frozen=True)
@checked
class LoggedAlways(Metric):
    """Base of a metric that is logged at every log point, because progress, marks and figures depend on it."""

    _: KW_ONLY
    every: int = option(1, "always 1: losses and accuracies are logged at every log point", at_least=1, at_most=1)
