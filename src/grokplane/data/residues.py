"""The groups of residues modulo p, with their elements in coordinates that add."""

from __future__ import annotations

import torch
from torch import Tensor

from grokplane.data.families import named
from grokplane.data.operations import is_prime
from grokplane.operand_group import OperandGroup

MULTIPLICATIVE = ("mul", "div")


def of_residues(operation: str, p: int, tokens: int) -> OperandGroup:
    """The group of the operands of an operation modulo p, see `OperandGroup`.

    Args:
        operation: name of the operation; those in MULTIPLICATIVE have the group of the nonzero residues if p is prime.
        p: modulus.
        tokens: number of tokens V of the layout; the first p of them are the residues.
    """
    elements = torch.full((tokens,), -1)
    if operation in MULTIPLICATIVE and is_prime(p) and p > 2:
        elements[:p] = discrete_logarithms(p)
        return OperandGroup(elements, named(f"Z{p - 1}").products, (p - 1,))
    elements[:p] = torch.arange(p)
    return OperandGroup(elements, named(f"Z{p}").products, (p,))


def discrete_logarithms(p: int) -> Tensor:
    """The logarithm of each residue modulo a prime p to the smallest primitive root [p] int64; -1 for 0."""
    powers = next(found for root in range(1, p) if len(found := _powers(root, p)) == p - 1)
    logarithms = torch.full((p,), -1)
    logarithms[torch.tensor(powers)] = torch.arange(p - 1)
    return logarithms


def _powers(root: int, p: int) -> list[int]:
    """root^0, root^1, ... modulo p, up to the last one before 1 comes again."""
    powers, power = [1], root
    while power != 1:
        powers.append(power)
        power = power * root % p
    return powers
