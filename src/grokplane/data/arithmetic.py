"""Binary operations on whole numbers, plain or modulo p, and the pairs of numbers that they are asked about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.data.operations import OPERATIONS


@dataclass(frozen=True)
class Plain:
    """An operation on whole numbers from 0 on.

    Attributes:
        answer: (a [N], b [N]) -> answers [N], all int64; exact for operands up to 10^9.
        largest: the largest answer to operands up to a number, for the pairs that are asked.
        descending: whether only pairs a >= b have an answer that is not negative.
    """

    answer: Callable[[Tensor, Tensor], Tensor]
    largest: Callable[[int], int]
    descending: bool = False


def square_root(numbers: Tensor) -> Tensor:
    """Square roots of whole numbers [N] up to 2^62, rounded down exactly: the float64 root may be off by one."""
    roots = numbers.double().sqrt().long()
    roots -= (roots.square() > numbers).long()
    return roots + ((roots + 1).square() <= numbers).long()


def _itself(top: int) -> int:
    return top


PLAIN: dict[str, Plain] = {
    "add": Plain(torch.add, lambda top: 2 * top),
    "sub": Plain(torch.sub, _itself, descending=True),
    "abs_diff": Plain(lambda a, b: (a - b).abs(), _itself),
    "mul": Plain(torch.mul, lambda top: top * top),
    "average": Plain(lambda a, b: (a + b) // 2, _itself),
    "sqrt_product": Plain(lambda a, b: square_root(a * b), _itself),
    "max": Plain(torch.maximum, _itself),
    "min": Plain(torch.minimum, _itself),
}
# Those of `data=modular` whose answers need no division and no table; they take operands modulo p.
FORMULAS = {
    name: operation
    for name, operation in OPERATIONS.items()
    if not operation.needs_prime and name not in (*PLAIN, "random")
}


def answers(operation: str, a: Tensor, b: Tensor, modulus: int | None) -> Tensor:
    """Answers [N] int64 to operands [N] and [N]; those of FORMULAS need a modulus."""
    if operation in FORMULAS:
        assert modulus is not None
        return FORMULAS[operation].answer(a % modulus, b % modulus, modulus, 0)
    plain = PLAIN[operation].answer(a, b)
    return plain if modulus is None else plain % modulus


def largest(operation: str, top: int, modulus: int | None) -> int:
    """The largest answer that operands up to `top` can have; modulo p, the largest residue."""
    return PLAIN[operation].largest(top) if modulus is None else modulus - 1


@dataclass(frozen=True)
class Pairs:
    """Pairs (a, b) of numbers from `low` to `high` - 1, by the first and then by the second.

    Attributes:
        low: the least number.
        high: the number after the largest one.
        descending: whether only the pairs with a >= b belong to them.
    """

    low: int
    high: int
    descending: bool

    def __len__(self) -> int:
        """The number of pairs."""
        count = self.high - self.low
        return count * (count + 1) // 2 if self.descending else count * count

    def at(self, places: Tensor) -> Tensor:
        """The pairs at these places of the order [N] int64: [N, 2]."""
        if not self.descending:
            count = self.high - self.low
            return self.low + torch.stack([places // count, places % count], 1)
        # a (a + 1) / 2 pairs have a smaller first number; 8 k + 1 would overflow, a root of 2 k is within one of it
        first = square_root(2 * places)
        first -= (first * (first + 1) // 2 > places).long()
        return self.low + torch.stack([first, places - first * (first + 1) // 2], 1)
