"""Finite groups by name: cyclic, dihedral, symmetric, alternating and dicyclic groups, and their direct products."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import permutations

import torch
from torch import Tensor

from grokplane.data.cayley import FiniteGroup, direct
from grokplane.options import ConfigError

LARGEST = 5_040  # elements of a group, those of S7
_FACTOR = re.compile(r"(?P<family>[A-Z])(?P<n>[1-9]\d{0,4})")


@dataclass(frozen=True)
class Family:
    """The groups that one letter and a number n name; the identity of each is element 0.

    Attributes:
        called: the family's name.
        make: n -> the group.
        order: n -> number of elements.
        most: the largest n, for which the order is at most LARGEST.
        least: the smallest n.
        step: n must be a multiple of it.
    """

    called: str
    make: Callable[[int], FiniteGroup]
    order: Callable[[int], int]
    most: int
    least: int = 1
    step: int = 1

    def has(self, n: int) -> bool:
        """Whether the family has a group of this n."""
        return self.least <= n <= self.most and n % self.step == 0


def _rotations(n: int, square: int) -> FiniteGroup:
    """The group of r^k s^j, numbered k + n j, with r^n = e, s r s^-1 = r^-1 and s^2 = r^square."""
    numbers = torch.arange(2 * n)
    k, j = numbers % n, numbers // n
    turned = torch.where(j[:, None] == 1, -k, k)  # s^i r^k = r^(-k) s^i for i = 1
    power = k[:, None] + turned + square * (j[:, None] & j)
    return FiniteGroup(power % n + n * (j[:, None] ^ j))


def _cyclic(n: int) -> FiniteGroup:
    numbers = torch.arange(n)
    return FiniteGroup((numbers[:, None] + numbers) % n, orders=(n,))


def _of_permutations(images: Tensor) -> FiniteGroup:
    """A group of permutations [N, n], in their order; row a holds a(0), ..., a(n - 1), and a∘b applies b first."""
    degree = images.shape[1]
    places = degree ** torch.arange(degree - 1, -1, -1)
    number = torch.empty(degree**degree, dtype=torch.int64)
    number[(images * places).sum(1)] = torch.arange(len(images))
    codes = torch.zeros(len(images), len(images), dtype=torch.int64)
    for place, of_b in zip(places.tolist(), images.T, strict=True):
        codes += images[:, of_b] * place  # a(b(i)) in row a and column b
    return FiniteGroup(number[codes])


def _symmetric(n: int) -> FiniteGroup:
    return _of_permutations(torch.tensor(list(permutations(range(n)))))


def _alternating(n: int) -> FiniteGroup:
    images = torch.tensor(list(permutations(range(n))))
    return _of_permutations(images[_inversions(images) % 2 == 0])


def _inversions(images: Tensor) -> Tensor:
    """Number of pairs that each permutation [N, n] puts in the wrong order [N]."""
    wrong = images[:, :, None] > images[:, None, :]
    return wrong.triu(1).sum((1, 2))


FAMILIES = {
    "Z": Family("cyclic", _cyclic, lambda n: n, LARGEST),
    "D": Family("dihedral", lambda n: _rotations(n, 0), lambda n: 2 * n, LARGEST // 2),
    "S": Family("symmetric", _symmetric, math.factorial, 7),
    "A": Family("alternating", _alternating, lambda n: math.factorial(n) // min(n, 2), 7),
    "Q": Family("dicyclic", lambda n: _rotations(n // 2, n // 4), lambda n: n, LARGEST, least=8, step=4),
}


def order(name: str) -> int:
    """Number of elements of the group with this name, without making the group.

    Raises:
        ConfigError: no such name, or a number that is 1 or above LARGEST; the key is `data.group`.
    """
    found = math.prod(family.order(n) for family, n in _factors(name))
    if not 2 <= found <= LARGEST:
        raise ConfigError("data.group", name, f"must have 2 to {LARGEST:,} elements")
    return found


@lru_cache(maxsize=4)
def named(name: str) -> FiniteGroup:
    """The group with this name, with elements numbered as in `grokplane.data.group.Group`. Errors: see `order`."""
    order(name)
    return reduce(direct, (family.make(n) for family, n in _factors(name)))


def _factors(name: str) -> list[tuple[Family, int]]:
    parts = [_FACTOR.fullmatch(part) for part in name.split("x")]
    found = [(FAMILIES[part["family"]], int(part["n"])) for part in parts if part and part["family"] in FAMILIES]
    if len(found) < len(parts) or not all(family.has(n) for family, n in found):
        raise ConfigError("data.group", name, f"must be {_allowed()}, or a direct product such as Z2xD4")
    return found


def _allowed() -> str:
    return ", ".join(
        f"{letter}{one.least}{f', {letter}{one.least + one.step}, ...' if one.step > 1 else ''} to {letter}{one.most} "
        f"({one.called})"
        for letter, one in FAMILIES.items()
    )
