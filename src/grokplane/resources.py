"""Memory and cores that are available. This module is below all packages."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grokplane.options import ConfigError


def check_fits(key: str, value: object, units: int, unit_bytes: int, what: str = "a table of {} rows") -> None:
    """Refuse an object that would take more than half of the available memory.

    Args:
        key: the config key that determines the size.
        value: the key's value.
        units: number of rows (or other units).
        unit_bytes: bytes of one unit, including temporary memory.
        what: description of the object, with a placeholder for the number of units.

    Raises:
        ConfigError: gives the required bytes and the largest possible number of units.
    """
    size, available = units * unit_bytes, available_bytes()
    if size > available // 2:
        raise ConfigError(
            key,
            value,
            f"{what.format(units)} would take {human(size)}, more than half of the {human(available)} available; "
            f"must be at most {available // 2 // unit_bytes}",
        )


def available_bytes() -> int:
    """Memory that this process can still allocate: Linux's estimate and the container's limit; elsewhere all memory."""
    meminfo = Path("/proc/meminfo")
    found = re.search(r"^MemAvailable:\s*(\d+) kB", meminfo.read_text(), re.M) if meminfo.exists() else None
    if found is None:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(int(found[1]) * 1024, *map(container_bytes, control_groups()))


def control_groups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[Path]:
    """The control groups (version 2) of this process, from its own (for example a Slurm step's) to the root.

    Args:
        root: mount point of the control groups.
        own: file in which the kernel names the process's own group.
    """
    found = re.search(r"^0::/(.*)$", own.read_text(), re.M) if own.exists() else None
    inner = root / found[1] if found is not None else root
    return [inner, *(group for group in inner.parents if group.is_relative_to(root))]


def container_bytes(cgroup: Path) -> int:
    """Memory that a control group (version 2) still allows; without a limit, more than any machine has."""
    limit, used = cgroup / "memory.max", cgroup / "memory.current"
    if not (limit.exists() and used.exists()) or not limit.read_text().strip().isdigit():
        return 1 << 62
    return max(0, int(limit.read_text()) - int(used.read_text()))


def human(size: float) -> str:
    """Bytes in the largest unit with a value of at least one: "384.0 GiB"."""
    units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]
    power = min(max(int(size).bit_length() - 1, 0) // 10, len(units) - 1)
    return f"{size / 1024**power:.{min(power, 1)}f} {units[power]}"


def cores() -> int:
    """Cores that this process may use, or OMP_NUM_THREADS if that is fewer; on macOS all cores of the machine."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allotted = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(there, int(allotted))) if allotted.isdigit() else there


@contextmanager
def rare_collection() -> Iterator[None]:
    """A block with few garbage collections: imports and compositions make many objects and little garbage."""
    earlier = gc.get_threshold()
    gc.set_threshold(50_000, *earlier[1:])
    try:
        yield
    finally:
        gc.set_threshold(*earlier)
