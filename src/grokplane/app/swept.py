"""The values of a swept override, and the largest number of runs of one call."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.types import RangeSweep

from grokplane.app.errors import Refused

MOST_JOBS = 100_000  # multiruns and sweeps compose and check all runs before the first one starts


def values_of(override: Any) -> list[str]:
    """Return each value of a swept override as text.

    Args:
        override: Hydra's parsed override, see `grokplane.config.parse`.

    Raises:
        Refused: the sweep has no list of values, no value at all, or more values than `MOST_JOBS`.
    """
    line = str(override.input_line)
    if not override.is_discrete_sweep():
        raise Refused(f"{line}: cannot be swept; allowed: values with commas, choice(), range(), glob()")
    value = override.value()
    try:
        if isinstance(value, RangeSweep):
            refuse_many(value.range(), line)  # before Hydra lists all values of a shuffled range
        values = [str(text) for text in override.sweep_string_iterator()]
    except ValueError as error:
        raise Refused(f"{line}: cannot be swept ({error})") from error
    if not values:
        raise Refused(f"{line}: matches nothing")
    refuse_many(values, line)
    return values


def refuse_many(runs: Iterable[Any], line: str) -> None:
    """Raise Refused for more than `MOST_JOBS` runs; counts no further than that."""
    if sum(1 for _ in itertools.islice(runs, MOST_JOBS + 1)) > MOST_JOBS:
        raise Refused(f"{line}: makes more than {MOST_JOBS:,} runs; allowed: fewer values")
