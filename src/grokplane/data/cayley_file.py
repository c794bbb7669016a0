"""Cayley tables in files: text with whole numbers, or .npy."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from grokplane.data.cayley import FiniteGroup, checked_group
from grokplane.data.families import LARGEST
from grokplane.options import ConfigError
from grokplane.resources import check_fits

KEY = "data.cayley"
BYTES = 40  # memory for each byte of a text file, at most: a digit and a separator become a Python number


class _BadTableError(ValueError):
    """A file that holds no table; the message is one line."""


def read_group(path: str) -> FiniteGroup:
    """The group whose Cayley table is in a file; an unchanged file is read once.

    Row a and column b of the table hold a∘b. Text has one row a line, with spaces or commas between whole numbers.

    Raises:
        ConfigError: the file cannot be read, or its table is none of a group.
    """
    try:
        told = os.stat(path)
        check_fits(KEY, path, told.st_size, BYTES, "a file of {} bytes")
        found = _read(Path(path).absolute(), told.st_mtime_ns, told.st_size)
    except OSError as error:
        raise ConfigError(KEY, path, f"cannot be read ({error.strerror or error})") from error
    except _BadTableError as error:
        raise ConfigError(KEY, path, str(error)) from error
    if isinstance(found, str):
        raise ConfigError(KEY, path, f"must be the Cayley table of a group; {found}")
    return found


@lru_cache(maxsize=4)
def _read(path: Path, modified: int, size: int) -> FiniteGroup | str:  # noqa: ARG001 (they say which state)
    table = _array(path) if path.suffix == ".npy" else _text(path)
    n = len(table)
    if not 2 <= n <= LARGEST:
        raise _BadTableError(f"must have 2 to {LARGEST:,} rows, one for each element, and has {n}")
    return checked_group(torch.from_numpy(table))


def _text(path: Path) -> np.ndarray:
    rows: list[list[int]] = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if words := line.replace(",", " ").split():
                rows.append(_numbers(words, number))
    except UnicodeDecodeError as error:
        raise _BadTableError("must be text with whole numbers, or a .npy file") from error
    for row, numbers in enumerate(rows):
        if len(numbers) != len(rows):
            raise _BadTableError(
                f"must have as many numbers in each row as rows: row {row} of {len(rows)} has {len(numbers)}"
            )
    return np.array(rows, np.int64)


def _numbers(words: list[str], line: int) -> list[int]:
    wrong = next(
        (word for word in words if not (word.isascii() and word.lstrip("-").isdigit() and len(word) < 19)), None
    )
    if wrong is not None:
        raise _BadTableError(
            f"must hold whole numbers, with spaces or commas between them; line {line} has {wrong[:20]}"
        )
    return [int(word) for word in words]


def _array(path: Path) -> np.ndarray:
    try:
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise _BadTableError(f"is no .npy file ({str(error).partition(chr(10))[0]})") from error
    whole = table.dtype.kind in "iu" and np.can_cast(table.dtype, np.int64)
    if not whole or table.ndim != 2 or table.shape[0] != table.shape[1]:
        allowed = "must be a square array of whole numbers of at most 64 bits with a sign"
        raise _BadTableError(f"{allowed}, and has shape {table.shape} of {table.dtype}")
    return np.array(table, np.int64)
