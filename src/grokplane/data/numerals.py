"""Whole numbers as the digits of a base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def length(number: int, base: int) -> int:
    """Number of digits of a whole number; 0 has one."""
    digits = 1
    while number >= base:
        number, digits = number // base, digits + 1
    return digits


@dataclass(frozen=True)
class Numerals:
    """How numbers are written.

    Attributes:
        base: number of digits B.
        width: most digits of a number.
        reversed: whether the least significant digit comes first.
        padded: whether every number has `width` digits, with leading zeros; else it has no leading zero.
    """

    base: int
    width: int
    reversed: bool
    padded: bool

    def write(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers [N] int64 below base^width as digits [N, width], and which digits are written, bool."""
        digits, rest = numbers.new_empty(len(numbers), self.width), numbers
        for place in range(self.width):
            digits[:, place], rest = rest % self.base, rest // self.base
        written = torch.ones_like(digits, dtype=torch.bool)
        if not self.padded:
            written = torch.arange(self.width) < self.lengths(numbers)[:, None]
        return (digits, written) if self.reversed else (digits.flip(1), written.flip(1))

    def lengths(self, numbers: Tensor) -> Tensor:
        """How many digits numbers [N] have without leading zeros [N]; 0 has one."""
        found, rest = torch.ones_like(numbers), numbers // self.base
        for _ in range(self.width - 1):
            found, rest = found + (rest > 0), rest // self.base
        return found

    def read(self, digits: Sequence[int]) -> int | None:
        """The number that is written with these tokens; None for tokens that `write` gives for no number."""
        if not all(digit < self.base for digit in digits) or not 1 <= len(digits) <= self.width:
            return None
        number = 0
        for digit in reversed(digits) if self.reversed else digits:
            number = number * self.base + digit
        proper = len(digits) == (self.width if self.padded else length(number, self.base))
        return number if proper else None
