"""Functions of two elements a, b of an abelian group: their parts that depend on a∘b, a∘b^-1, a or b alone.

A character of pairs is a product of a character of a and one of b. It belongs to the family `sum` if both are the same,
(k, k), to `difference` if they are conjugates, (k, -k), to `a` or `b` if the other one is the constant, else to `rest`.
A real character has (k, k) = (k, -k), which is counted as `sum`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from grokplane.mechanism.cayley import quotients

FAMILIES = ("sum", "difference", "a", "b")


def variables(products: Tensor) -> Tensor:
    """The element that each family's functions depend on [4, n, n], with a in rows and b in columns.

    Args:
        products: the Cayley table [n, n].
    """
    a, b = torch.meshgrid(*[torch.arange(len(products))] * 2, indexing="ij")
    return torch.stack([products, quotients(products), a, b])


def cells(variable: Tensor) -> Tensor:
    """For each family and element the n pairs on which its variable is this element [4, n, n], as a n + b.

    Args:
        variable: of the families [4, n, n].
    """
    return variable.flatten(1).argsort(dim=1, stable=True).view_as(variable)


def means(values: Tensor, cell: Tensor, sizes: Tensor) -> Tensor:
    """Means of functions over all pairs on which a family's variable is an element [E, n, R].

    Args:
        values: functions of pairs [E, cells, R], including a cell that is zero.
        cell: the pairs of each element [E, n, n], padded with the cell that is zero.
        sizes: number of elements of each member [E].
    """
    members, count, _ = values.shape
    rows = (cell + torch.arange(members, device=cell.device)[:, None, None] * count).flatten(0, 1)
    sums = F.embedding_bag(rows, values.flatten(0, 1), mode="sum").unflatten(0, cell.shape[:2])
    return sums / sizes[:, None, None]


def spread(values: Tensor, index: Tensor) -> Tensor:
    """Rows of values [E, n, R] at an index [E, N]; the index n gives zero: [E, N, R]."""
    padded = F.pad(values, (0, 0, 0, 1))
    first = torch.arange(len(index), device=index.device)[:, None] * padded.shape[1]
    return padded.flatten(0, 1).index_select(0, (index + first).flatten()).unflatten(0, index.shape)


def filtered(waves: Tensor, kept: Tensor, values: Tensor) -> Tensor:
    """Projection of functions [E, n, R] on the kept frequencies.

    Args:
        waves: cosines and sines [E, 2, M, n].
        kept: which frequencies are kept [E, M], bool.
        values: functions of one element.
    """
    basis = (waves * kept[:, None, :, None]).flatten(1, 2)
    return torch.bmm(basis.mT, torch.bmm(basis, values))
