"""Distinct whole numbers drawn from a range that need not fit in memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from grokplane.options import ConfigError
from grokplane.random import numpy_generator
from grokplane.resources import check_fits


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


def rows_of(key: str, wanted: int | None, total: int, row_bytes: int, seed: int, stream: str) -> Tensor:
    """The questions of a table as numbers below `total` [N] int64, ascending: all of them, or a subset.

    Args:
        key: the config key that says how many, such as `data.equations`; its last part names what is drawn.
        wanted: the key's value; None: all.
        total: how many exist.
        row_bytes: peak memory of building the table, for each row.
        seed: decides the subset.
        stream: the name of the draw.

    Raises:
        ConfigError: more than exist, or than fit in memory.
    """
    count = total if wanted is None else wanted
    if count > total:
        raise ConfigError(key, wanted, f"must be at most {total}, the number of {key.rpartition('.')[2]}")
    check_fits(key, wanted, count, row_bytes)
    if wanted is None:
        return torch.arange(total)
    return torch.from_numpy(distinct(total, count, numpy_generator(seed, stream))).sort().values
