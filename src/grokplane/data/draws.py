"""Distinct whole numbers drawn from a range that need not fit in memory."""

from __future__ import annotations

import numpy as np


def distinct(total: int, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` of the numbers 0..total-1 [count] int64, in the order drawn; every subset is equally likely.

    Takes memory for some multiple of `count`, whatever `total` is (at most 2^62). Numbers are drawn one after the other
    and those that came before are passed over; where more than half are wanted the range itself is shuffled.
    """
    if 2 * count > total:
        return random.permutation(total)[:count]
    chosen = np.empty(0, np.int64)
    while len(chosen) < count:
        drawn = np.concatenate([chosen, random.integers(total, size=count)])
        _, first = np.unique(drawn, return_index=True)
        chosen = drawn[np.sort(first)][:count]
    return chosen
