"""All pairs of a sample at once: squared distances by matrix products, tile by tile of the upper triangle.

A product of the rows (-2a, |a|^2, 1) with (b, 1, |b|^2) is |a - b|^2 with an error of at most (d + 4) eps (|a| + |b|)^2
(a dot product of d + 2 terms, Higham 2002, section 3.1; the squared norms; the centring), typically of its d-th root
(Higham and Mary 2019). Who uses it has to compare that with the distances it needs. Rows are centred first: only
differences count, and a common offset would spoil them.

A tile is small enough to be worked on in the second-level cache. All operations release the interpreter's lock.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

ROWS, COLUMNS = 128, 1024  # of a tile: 1 MiB; both are multiples of 8, at most 255 and 8 * 255
LANES = 8  # the number of rows is padded to a multiple of it, so that eight truth values are one word
FAR = 1e300  # value of a pair with a padding row: in no radius, of no weight
EPS = torch.finfo(torch.float64).eps


class Tile(NamedTuple):
    """Pairs of some rows with some columns.

    Attributes:
        rows, columns: which of the padded sample they are.
        values: one a pair [rows, columns]; overwritten by the next tile.
        own: how many leading columns are the rows themselves. Pairs in there stand twice, all others once.
    """

    rows: slice
    columns: slice
    values: Tensor
    own: int


def centred(x: Tensor) -> Tensor:
    """Rows x [N, d] about their mean."""
    return x - x.mean(0)


def factors(x: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Left and right factor, both [M, d + 2], of the matrix scale |x_i - x_j|^2, for centred rows x [N, d].

    M is the next multiple of 8 above N. Padding rows have 1e300 with the sign of scale, or
    more, with all.
    """
    count, dims = x.shape
    padded = (count // LANES + 1) * LANES
    left, right = x.new_zeros(2, padded, dims + 2).unbind()
    norm = x.new_full((padded,), math.copysign(FAR, scale))
    torch.mul(x.square().sum(1), scale, out=norm[:count])
    torch.mul(x, -2 * scale, out=left[:count, :dims])
    left[:, dims], left[:, dims + 1] = norm, 1
    right[:count, :dims], right[:, dims], right[:, dims + 1] = x, 1, norm
    return left, right


def tiles(left: Tensor, right: Tensor) -> Iterator[Tile]:
    """The products of the upper triangle of left right', for factors [M, K] of a symmetric matrix."""
    count = len(left)
    buffer = left.new_empty(ROWS * COLUMNS)
    for start in range(0, count, ROWS):
        rows = slice(start, min(start + ROWS, count))
        for first in range(start, count, COLUMNS):
            columns = slice(first, min(first + COLUMNS, count))
            shape = rows.stop - rows.start, columns.stop - columns.start
            values = buffer[: shape[0] * shape[1]].view(shape)
            torch.mm(left[rows], right[columns].T, out=values)
            yield Tile(rows, columns, values, shape[0] if first == start else 0)


def squared_gaps(a: Tensor, b: Tensor) -> Tensor:
    """|a_i - b_j|^2 by differences of coordinates [n, m]: exact to a few units in the last place, and slow."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square_()
