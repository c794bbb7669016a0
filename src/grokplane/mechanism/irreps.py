"""Isotypic components of the functions on a finite group, and its characters, from the Cayley table alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from grokplane.mechanism import cayley
from grokplane.mechanism.waves import Rows
from grokplane.random import generator

SEED = 0  # of the combination of class sums; the components do not depend on it
TOLERANCE_OF_VALUES = 1e-9  # eigenvalues of one component differ by less, in units of the largest one
TOLERANCE = 1e-6  # of dimensions from whole numbers


class Irreps(NamedTuple):
    """The irreducible representations of a group of n elements; a complex one and its conjugate are one component.

    Attributes:
        rows: orthonormal basis of the functions on the group; a component's rows span its matrix elements.
        dimensions: dimension d of each representation [R] int64.
        characters: real characters [R, n] float64; of a pair, the sum of both.
    """

    rows: Rows
    dimensions: Tensor
    characters: Tensor


def irreps(products: Tensor) -> Irreps:
    """The representations by dimension, single ones before pairs of conjugates; the trivial one is the first.

    The sums over conjugacy classes, each symmetrised with the class of the inverses, commute with all translations. A
    random combination of them is a symmetric matrix whose eigenspaces are the components (after Dixon 1967). The
    projection on a component is d/n chi(g h^-1), which gives the character.

    Args:
        products: the Cayley table [n, n] int64, with g∘h in row g and column h.

    Raises:
        ArithmeticError: two components have equal eigenvalues to round-off.
    """
    n, classes = len(products), cayley.classes(products)
    of_inverses = classes[cayley.inverses(products)]
    functions, component = _eigenspaces(products, torch.minimum(classes, of_inverses))
    membership = F.one_hot(component).double().T
    conjugates = _class_functions(functions, membership, classes)
    dimensions = (membership.sum(1) / conjugates).sqrt()
    smallest = torch.arange(n) == classes
    expected = (int(smallest.sum()) + int((smallest & (classes == of_inverses)).sum())) // 2
    if len(membership) != expected or bool((dimensions - dimensions.round()).abs().max() > TOLERANCE):
        raise ArithmeticError(f"found {len(membership)} components of functions on this group, and it has {expected}")
    # The projection at (g, e) is d chi(g) / n.
    projections = membership @ (functions * functions[:, cayley.identity(products), None])
    characters = projections * n / dimensions[:, None]
    order = _order(dimensions, conjugates, characters)
    place = order.argsort()[component]
    by_place = place.argsort(stable=True)
    rows = Rows(functions[by_place], place[by_place])
    return Irreps(rows, dimensions.round().long()[order], characters[order])


def _eigenspaces(products: Tensor, classes: Tensor) -> Rows:
    """The components in any order, as eigenspaces of a random combination of sums over these classes [n]."""
    size = torch.bincount(classes)[classes]
    drawn = torch.randn(len(classes), generator=generator(SEED, "irreps"), dtype=torch.float64)
    values, vectors = torch.linalg.eigh((drawn[classes] / size.sqrt())[cayley.quotients(products)])
    new = values.diff(prepend=values[:1]) > TOLERANCE_OF_VALUES * values.abs().max()
    return Rows(vectors.mT, new.cumsum(0))


def _class_functions(functions: Tensor, membership: Tensor, classes: Tensor) -> Tensor:
    """Dimension of the class functions in each component [R]: 1, or 2 for a pair of conjugates, of rank 2 d^2."""
    indicators = F.one_hot(classes).double()
    indicators = indicators / indicators.sum(0).clamp(min=1).sqrt()
    return (membership @ (functions @ indicators).square().sum(1)).round()


def _order(dimensions: Tensor, conjugates: Tensor, characters: Tensor) -> Tensor:
    """The order by dimension, single representations before pairs, descending characters: the trivial one is first."""
    keys = torch.cat([dimensions[:, None], conjugates[:, None], -characters], 1).mul(1e6).round().long().tolist()
    return torch.tensor(sorted(range(len(keys)), key=lambda number: keys[number]))
