"""Binary operations modulo p: the 15 operations of the grokking literature.

Source: Power et al. 2022, "Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets", appendix A.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.random import generator


@dataclass(frozen=True)
class Operation:
    """A binary operation on the residues 0..p-1.

    Attributes:
        answer: (x [N], y [N], p, seed) -> answers [N], all int64; exact in int64 for p up to 10^6.
        needs_prime: whether it divides, so that p must be prime.
        nonzero_second: whether the second operand is never 0.
    """

    answer: Callable[[Tensor, Tensor, int, int], Tensor]
    needs_prime: bool = False
    nonzero_second: bool = False

    def operands(self, p: int) -> tuple[Tensor, Tensor]:
        """All pairs of operands, ([N], [N]) int64, ordered by the first and then by the second."""
        residues = torch.arange(p)
        first, second = torch.meshgrid(residues, residues[int(self.nonzero_second) :], indexing="ij")
        return first.flatten(), second.flatten()


def is_prime(number: int) -> bool:
    """Whether a number is prime, by trial division."""
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def divide(x: Tensor, y: Tensor, p: int) -> Tensor:
    """x / y modulo a prime p, elementwise; 0 if y is 0."""
    inverses = torch.tensor([0, *(pow(residue, -1, p) for residue in range(1, p))])
    return x * inverses[y] % p


def _formula(function: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    return Operation(lambda x, y, p, _seed: function(x, y) % p)


def _drawn(x: Tensor, y: Tensor, p: int, seed: int) -> Tensor:
    answers = torch.randint(p, (p * p,), generator=generator(seed, "task"))
    return answers[x * p + y]


OPERATIONS: dict[str, Operation] = {
    "add": _formula(lambda x, y: x + y),
    "sub": _formula(lambda x, y: x - y),
    "mul": _formula(lambda x, y: x * y),
    "div": Operation(lambda x, y, p, _seed: divide(x, y, p), needs_prime=True, nonzero_second=True),
    "x2_plus_y2": _formula(lambda x, y: x**2 + y**2),
    "x2_plus_y2_plus_xy": _formula(lambda x, y: x**2 + y**2 + x * y),
    "x2_plus_y2_plus_xy_plus_x": _formula(lambda x, y: x**2 + y**2 + x * y + x),
    "x3_plus_xy": _formula(lambda x, y: x**3 + x * y),
    "x3_plus_xy2_plus_y": _formula(lambda x, y: x**3 + x * y**2 + y),
    "x2_plus_y": _formula(lambda x, y: x**2 + y),
    "x3_plus_y": _formula(lambda x, y: x**3 + y),
    "div_odd_sub_even": Operation(
        lambda x, y, p, _seed: torch.where(y % 2 == 1, divide(x, y, p), (x - y) % p), needs_prime=True
    ),
    "add_even_mul_odd": _formula(lambda x, y: torch.where(x % 2 == 0, x + y, x * y)),
    "add_even_sub_odd": _formula(lambda x, y: torch.where(x % 2 == 0, x + y, x - y)),
    "random": Operation(_drawn),
}
