"""Isotypic components of the functions on a finite group, and its characters, from the Cayley table alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from grokplane.mechanism.waves import Rows
from grokplane.random import generator

SEED = 0  # of the combination of class sums; the components do not depend on it
GAP = 1e-9  # eigenvalues of one component differ by less


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
    """The representations in ascending order: the trivial one, then by dimension, then by character.

    The sums over conjugacy classes, each symmetrised with the class of the inverses, commute with all translations. A
    random combination of them is a symmetric matrix whose eigenspaces are the components (Dixon 1967, with functions in
    place of the class algebra). The projection on a component is d/n chi(g h^-1), which gives the character.

    Args:
        products: the Cayley table [n, n] int64, with g∘h in row g and column h.

    Raises:
        ArithmeticError: two components have equal eigenvalues to round-off.
    """
    n = len(products)
    identity = int((products == torch.arange(n)).all(1).int().argmax())
    inverses = (products == identity).int().argmax(1)
    classes = _classes(products, inverses)
    quotients = products[:, inverses]  # g∘h^-1
    drawn = torch.randn(n, generator=generator(SEED, "irreps"), dtype=torch.float64)
    size = torch.bincount(classes, minlength=n)[classes]
    combined = (drawn / torch.bincount(classes, minlength=n).clamp(min=1).sqrt())[torch.minimum(classes, classes[inverses])]
    values, vectors = torch.linalg.eigh(combined[quotients])
    component = (values.diff() > GAP * values.abs().max()).cumsum(0)
    component = torch.cat([component.new_zeros(1), component])
    # The projections on the components, at g∘e^-1 = g, are d chi / n.
    membership = torch.nn.functional.one_hot(component).double()
    functions = vectors.mT
    projected = membership.mT @ (functions * functions[:, identity, None])
    ranks = membership.sum(0)
    # Class functions in a component: 1, or 2 for a pair of conjugates, which has rank 2 d^2.
    central = torch.zeros(n, n, dtype=torch.float64)
    central[torch.arange(n), classes] = size.double().rsqrt()
    conjugates = (membership.mT @ (functions @ central).square().sum(1)).round()
    dimensions = (ranks / conjugates).sqrt()
    real = (torch.unique(classes).numel() + int((classes == classes[inverses])[classes.unique()].sum())) // 2
    if len(ranks) != real or bool((dimensions - dimensions.round()).abs().max() > 1e-6):
        raise ArithmeticError(f"found {len(ranks)} components of functions on this group, and it has {real}")
    characters = projected * n / dimensions[:, None]
    order = _order(dimensions.round(), characters)
    place = order.argsort()[component]
    by_component = place.argsort(stable=True)
    rows = Rows(functions[by_component], place[by_component])
    return Irreps(rows, dimensions.round().long()[order], characters[order])


def _classes(products: Tensor, inverses: Tensor) -> Tensor:
    """The smallest element of the conjugacy class of each element [n]."""
    conjugates = products[products, inverses[:, None]]  # h∘g∘h^-1 in row h and column g
    return conjugates.amin(0)


def _order(dimensions: Tensor, characters: Tensor) -> Tensor:
    """The order of the components: ascending dimension, then descending characters; the trivial one is the first."""
    keys = torch.cat([dimensions[:, None], -characters], 1).mul(1e6).round().long().tolist()
    return torch.tensor(sorted(range(len(keys)), key=lambda number: keys[number]))
