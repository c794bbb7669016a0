"""What a metric is, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

from torch import Tensor

from grokplane.metrics.observation import Observation
from grokplane.options import checked, option


@dataclass(frozen=True, eq=False)
class Array:
    """An array a member, in place of one number: a spectrum, a matrix.

    It is recorded in `arrays/<metric>.npz` beside `metrics.jsonl`, and not sent to W&B.

    Attributes:
        values: [E, ...], of a dtype that numpy has; complex numbers too.
    """

    values: Tensor


@dataclass(frozen=True)
@checked
class Metric:
    """A metric: a frozen dataclass that derives from this one, with a call that turns an observation into values.

    A metric states its needs in class variables of value True: `needs_labels`, answers that are class labels;
    `needs_gradients`, gradients, which cost less when they are announced; `needs_layers`, all layers of both subsets,
    so that a task whose layers do not fit into memory is refused.
    """

    _: KW_ONLY
    every: int = option(1, "logged at one log point in so many, and at the first and the last", at_least=1)

    def __call__(self, seen: Observation) -> Mapping[str, Tensor | Array]:
        """Values by name: numbers [E], and arrays, which are marked as such."""
        raise NotImplementedError(f"{type(self).__name__} computes nothing")


@dataclass(frozen=True)
@checked
class LoggedAlways(Metric):
    """A metric that every log point has: progress, marks and figures are read off it."""

    _: KW_ONLY
    every: int = option(1, "always 1: losses and accuracies are logged at every log point", at_least=1, at_most=1)
