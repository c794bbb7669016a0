"""Small IDX files of random images, and the place of the genuine files."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np

# The folder of the genuine MNIST files; tests also use it if it exists.
GENUINE = Path(os.environ.get("GROKPLANE_MNIST", Path(__file__).parents[2] / "shared" / "mnist")).absolute()


def idx_bytes(array: np.ndarray) -> bytes:
    """An array of bytes as an IDX file."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_images(raw: Path, train: int, test: int, side: int = 28, zipped: bool = True) -> None:
    """The four files of a data set: noise, with the labels 0 to 9 in turn; the same each time."""
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    for part, count in (("train", train), ("t10k", test)):
        arrays = {
            f"{part}-images-idx3-ubyte": random.integers(256, size=(count, side, side)),
            f"{part}-labels-idx1-ubyte": np.arange(count) % 10,
        }
        for name, array in arrays.items():
            content = idx_bytes(array)
            (raw / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(content) if zipped else content)
