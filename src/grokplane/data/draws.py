"""Distinct whole numbers drawn from a range that need not fit in memory, and what does fit."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from grokplane.options import ConfigError


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


def check_fits(key: str, value: object, rows: int, row_bytes: int) -> None:
    """Refuse a table that would take more than half of the memory that is available.

    Raises:
        ConfigError: naming `key`, with the bytes that so many rows would take and how many rows may be asked for.
    """
    size, available = rows * row_bytes, available_bytes()
    if size > available // 2:
        raise ConfigError(
            key,
            value,
            f"a table of {rows} rows would take {human(size)}, more than half of the {human(available)} available; "
            f"must be at most {available // 2 // row_bytes}",
        )


def available_bytes() -> int:
    """Memory that a process can still get here: what Linux estimates, elsewhere all that the machine has."""
    meminfo = Path("/proc/meminfo")
    found = re.search(r"^MemAvailable:\s*(\d+) kB", meminfo.read_text(), re.M) if meminfo.exists() else None
    return int(found[1]) * 1024 if found else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def human(size: float) -> str:
    """Bytes in the largest unit of which there is at least one: "384.0 GiB"."""
    units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]
    power = min(max(int(size).bit_length() - 1, 0) // 10, len(units) - 1)
    return f"{size / 1024**power:.{min(power, 1)}f} {units[power]}"
