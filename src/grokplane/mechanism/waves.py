"""The real Fourier basis of a finite abelian group that is a direct product of cyclic groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor


class Rows(NamedTuple):
    """An orthonormal basis of the real functions on a group of n elements, in groups of rows.

    Attributes:
        functions: the basis [n, n] float64, one function in each row.
        component: number of the component that each row belongs to [n] int64, ascending.
    """

    functions: Tensor
    component: Tensor


class Waves:
    """Real Fourier basis: for each frequency a cosine and a sine, orthonormal over the n elements.

    A character of the product of cyclic groups n1, n2, ... is exp(2 pi i (k1 g1 / n1 + k2 g2 / n2 + ...)), where g1,
    g2, ... are the digits of an element in the mixed radix n1, n2, ..., the last one varying fastest. Its number is the
    number whose digits are k1, k2, ... A character and its complex conjugate are one frequency. Frequencies are
    numbered in the order of the smaller of both numbers, so that 0 is the constant and frequency k of a cyclic group is
    cos(2 pi k g / n), sin(2 pi k g / n). A character that equals its conjugate has no sine.

    Args:
        orders: n1, n2, ..., at least one.

    Attributes:
        pairs: cosines and sines [2, M, n] float64 of the M frequencies; zero where there is no sine.
        alone: whether a frequency has no sine [M], bool.
    """

    def __init__(self, orders: Sequence[int]) -> None:
        sizes = torch.tensor(orders)
        n, whole = math.prod(orders), math.lcm(*orders)
        places = torch.tensor([math.prod(orders[number + 1 :]) for number in range(len(orders))])
        digits = torch.arange(n)[:, None] // places % sizes
        conjugate = (-digits % sizes * places).sum(1)
        first = torch.arange(n) <= conjugate
        turns = digits[first] * (whole // sizes) @ digits.T % whole  # whole numbers: a full turn is exactly 0
        angles = 2 * math.pi / whole * turns.double()
        self.alone = (torch.arange(n) == conjugate)[first]
        scale = torch.where(self.alone, 1.0, 2.0).double().div(n).sqrt()[:, None]
        self.pairs = torch.stack([angles.cos() * scale, angles.sin() * scale * ~self.alone[:, None]])

    @cached_property
    def rows(self) -> Rows:
        """The basis, by frequency, the cosine first."""
        there = torch.stack([torch.ones_like(self.alone), ~self.alone], 1).flatten()
        component = torch.arange(len(self.alone)).repeat_interleave(2)
        return Rows(self.pairs.transpose(0, 1).flatten(0, 1)[there], component[there])
