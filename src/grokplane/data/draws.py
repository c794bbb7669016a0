"""Distinct whole numbers drawn from a range that need not fit in memory."""

from __future__ import annotations

import numpy as np


def distinct(total: int, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` of the numbers 0..total-1 [count] int64, in the order drawn; every subset is equally likely.

    With one state of the generator, a smaller draw is the beginning of a larger one, up to half of the range; so a
    smaller table is part of a larger one. `numpy.random.Generator.choice(replace=False)` does not have this property,
    and takes memory for up to 50 times `count`. This draw takes a small multiple of `count` for every `total` (up to
    2^62): numbers that were drawn before are dropped. If more than half are wanted, the range itself is shuffled.
    """
    if 2 * count > total:
        return random.permutation(total)[:count]
    chosen = np.empty(0, np.int64)
    while len(chosen) < count:
        drawn = np.concatenate([chosen, random.integers(total, size=count)])
        _, first = np.unique(drawn, return_index=True)
        chosen = drawn[np.sort(first)][:count]
    return chosen
