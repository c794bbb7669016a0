"""IDX files, the format of MNIST (LeCun et al. 1998): a header of big-endian numbers, then the bytes of one array."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from functools import cache
from pathlib import Path

import numpy as np

UNSIGNED_BYTES = 0x08
GZIPPED = b"\x1f\x8b"


class IdxError(ValueError):
    """A file that cannot be used; the message is one line with its path and the reason."""


def find(plain: Path) -> Path | None:
    """The file itself, or the gzipped file beside it with .gz appended to its name; None if neither exists."""
    return next((path for path in (plain, plain.with_name(f"{plain.name}.gz")) if path.is_file()), None)


def read(path: Path, axes: int) -> np.ndarray:
    """Read the array of an IDX file, uint8, read-only; an unchanged file is read once per process.

    Args:
        path: a plain or a gzipped file; the content decides.
        axes: required number of axes: 3 for images, 1 for labels.

    Raises:
        IdxError: the file cannot be read, is damaged or contains something else.
    """
    try:
        told = os.stat(path)
        return _read(path.absolute(), axes, told.st_mtime_ns, told.st_size)
    except IdxError as error:
        raise IdxError(f"{path} {error}") from None
    except (OSError, EOFError, zlib.error) as error:
        what = "ends too early" if isinstance(error, EOFError) else f"cannot be read ({error})"
        raise IdxError(f"{path} {what}") from error


@cache
def _read(path: Path, axes: int, modified: int, size: int) -> np.ndarray:  # noqa: ARG001 (the last two say which state)
    content = path.read_bytes()
    content = gzip.decompress(content) if content.startswith(GZIPPED) else content
    magic, expected = content[:4].hex(), bytes([0, 0, UNSIGNED_BYTES, axes]).hex()
    if magic != expected:
        raise IdxError(f"begins with 0x{magic}, where an IDX file of {axes}-D bytes begins with 0x{expected}")
    start = 4 + 4 * axes
    if len(content) < start:
        raise IdxError("ends in its header")
    shape = struct.unpack(f">{axes}I", content[4:start])
    if len(content) - start != math.prod(shape):
        told = f"{'x'.join(map(str, shape))} bytes after its header, and holds {len(content) - start}"
        raise IdxError(f"is damaged: it should hold {told}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
