"""Finite groups as Cayley tables: products, inverses, subgroups, cosets, and a check of the group axioms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from grokplane.options import ConfigError


@dataclass(frozen=True, eq=False)
class FiniteGroup:
    """A group whose elements are the numbers 0 to n - 1.

    Attributes:
        products: the Cayley table [n, n] int64, with a∘b in row a and column b.
        identity: the number of the identity.
        orders: see `OperandGroup`.
    """

    products: Tensor
    identity: int = 0
    orders: tuple[int, ...] = ()

    @property
    def order(self) -> int:
        """Number of elements n."""
        return len(self.products)

    @cached_property
    def inverses(self) -> Tensor:
        """a^-1 of every element a [n] int64."""
        return torch.nonzero(self.products == self.identity)[:, 1]

    @property
    def elements(self) -> Tensor:
        """The numbers of all elements [n] int64."""
        return torch.arange(self.order)

    def products_times(self, factors: Tensor) -> Tensor:
        """a∘b∘factors[a] in row a and column b [n, n]; factors are elements [n]."""
        return self.products[self.products, factors[:, None]]

    def subgroup(self, generators: Sequence[int]) -> Tensor:
        """The elements of the subgroup that these elements generate, ascending int64.

        Raises:
            ConfigError: a generator that is no element; the key is `data.split.generators`.
        """
        if not all(0 <= generator < self.order for generator in generators):
            allowed = f"elements are numbered 0 to {self.order - 1}"
            raise ConfigError("data.split.generators", list(generators), allowed)
        return torch.nonzero(generated(self.products, [self.identity, *generators])).flatten()

    def cosets(self, generators: Sequence[int]) -> Tensor:
        """By element a, the number of its left coset aH [n] int64; H is the subgroup that the generators generate.

        Cosets are numbered in the order of their smallest elements, from 0. Errors: see `subgroup`.
        """
        smallest = self.products[:, self.subgroup(generators)].amin(1)
        return smallest.unique(return_inverse=True)[1]


def direct(first: FiniteGroup, second: FiniteGroup) -> FiniteGroup:
    """The direct product; the pair (a, b) has the number a m + b, where m is the order of the second group."""
    m = second.order
    products = first.products[:, None, :, None] * m + second.products[:, None, :]
    orders = first.orders + second.orders if first.orders and second.orders else ()
    return FiniteGroup(products.reshape(first.order * m, -1), first.identity * m + second.identity, orders)


def generated(products: Tensor, generators: Sequence[int]) -> Tensor:
    """Which elements are products of generators, multiplied from left to right [n], bool.

    In a finite group these are the elements of the subgroup that the generators generate.
    """
    new = steps = torch.tensor(generators)
    reached = torch.zeros(len(products), dtype=torch.bool)
    while len(new):
        reached[new] = True
        found = products[new[:, None], steps].unique()
        new = found[~reached[found]]
    return reached


def checked_group(products: Tensor) -> FiniteGroup | str:
    """The group of a table, or in one line the group axiom that the table breaks, and where.

    Args:
        products: [n, n] int64 with at least one row; a∘b in row a and column b.
    """
    for axiom in (_closure, _identity, _inverses, _associativity):
        if told := axiom(products):
            return told
    return FiniteGroup(products, _nearest_identity(products)[0])


def _closure(products: Tensor) -> str:
    n = len(products)
    outside = (products < 0) | (products >= n)
    if not outside.any():
        return ""
    a, b = _first(outside)
    return f"closure fails: {a}∘{b} = {products[a, b]}, and the elements are 0 to {n - 1}"


def _nearest_identity(products: Tensor) -> tuple[int, int]:
    """The element e for which e∘a = a or a∘e = a fails least often, and how often."""
    elements = torch.arange(len(products))
    wrong = (products != elements).sum(1) + (elements != products.T).sum(1)
    return int(wrong.argmin()), int(wrong.min())


def _identity(products: Tensor) -> str:
    e, wrong = _nearest_identity(products)
    if not wrong:
        return ""
    elements = torch.arange(len(products))
    left, right = products[e] != elements, products[:, e] != elements
    at = int((left if left.any() else right).int().argmax())
    shown = f"{e}∘{at} = {products[e, at]}" if left.any() else f"{at}∘{e} = {products[at, e]}"
    return f"identity fails: no element e has e∘a = a∘e = a for every a; the nearest is {e}, with {shown}"


def _inverses(products: Tensor) -> str:
    e = _nearest_identity(products)[0]
    to_identity = products == e
    missing = ~(to_identity & to_identity.T).any(1)
    if not missing.any():
        return ""
    a = int(missing.int().argmax())
    told = f"inverses fail: no b has {a}∘b = b∘{a} = {e}, the identity"
    if not to_identity[a].any():
        return told
    b = int(to_identity[a].int().argmax())
    return f"{told}; {a}∘{b} = {e}, and {b}∘{a} = {products[b, a]}"


def _associativity(products: Tensor) -> str:
    """Light's test (Clifford and Preston 1961, section 1.2), exact for every table.

    The elements g with (a∘g)∘c = a∘(g∘c) for all a and c are closed under ∘, so generators are enough. A group of
    order n needs at most log2 n of them.
    """
    generators: list[int] = []
    reached = torch.zeros(len(products), dtype=torch.bool)
    while not reached.all():
        b = int((~reached).int().argmax())
        left, right = products[products[:, b]], products[:, products[b]]
        differ = left != right
        if differ.any():
            a, c = _first(differ)
            return f"associativity fails: ({a}∘{b})∘{c} = {left[a, c]}, and {a}∘({b}∘{c}) = {right[a, c]}"
        generators.append(b)
        reached = generated(products, generators)
    return ""


def _first(flags: Tensor) -> tuple[int, int]:
    """Row and column of the first true entry."""
    row, column = torch.nonzero(flags)[0].tolist()
    return row, column
