"""Identity, inverses and quotients of a finite group from its Cayley table [n, n], with a∘b in row a and column b."""

from __future__ import annotations

import torch
from torch import Tensor


def identity(products: Tensor) -> int:
    """The number of the identity."""
    return int((products == torch.arange(len(products))).all(1).int().argmax())


def inverses(products: Tensor) -> Tensor:
    """a^-1 of each element a [n] int64."""
    return (products == identity(products)).int().argmax(1)


def quotients(products: Tensor) -> Tensor:
    """a∘b^-1 in row a and column b [n, n] int64."""
    return products[:, inverses(products)]


def classes(products: Tensor) -> Tensor:
    """The smallest element of the conjugacy class of each element [n] int64."""
    conjugates = products[products, inverses(products)[:, None]]  # h∘g∘h^-1 in row h and column g
    return conjugates.amin(0)
