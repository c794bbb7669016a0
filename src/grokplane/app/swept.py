"""The values that an override is swept over, and how many runs one call may make."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.types import RangeSweep

from grokplane.app.errors import Refused

MOST_JOBS = 100_000  # a multirun, like a sweep, composes and checks all of them before the first one starts


def values_of(override: Any) -> list[str]:
    """Each value of an override that is swept, as text.

    Args:
        override: Hydra's own object, see `grokplane.config.parse`.

    Raises:
        Refused: it has no list of values, none, or more than one call may have runs.
    """
    line = str(override.input_line)
    if not override.is_discrete_sweep():
        raise Refused(f"{line}: cannot be swept; allowed: values with commas, choice(), range(), glob()")
    value = override.value()
    try:
        if isinstance(value, RangeSweep):
            refuse_many(value.range(), line)  # ahead of Hydra, which lists a shuffled one as a whole
        values = [str(text) for text in override.sweep_string_iterator()]
    except ValueError as error:
        raise Refused(f"{line}: cannot be swept ({error})") from error
    if not values:
        raise Refused(f"{line}: matches nothing")
    refuse_many(values, line)
    return values


def refuse_many(runs: Iterable[Any], line: str) -> None:
    """Raise Refused, with the line that makes them, for more than `MOST_JOBS` runs; looks at no more than these."""
    if sum(1 for _ in itertools.islice(runs, MOST_JOBS + 1)) > MOST_JOBS:
        raise Refused(f"{line}: makes more than {MOST_JOBS:,} runs; allowed: fewer values")
