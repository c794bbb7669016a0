"""The finite group whose elements are the operands and answers of a task, for diagnostics in its Fourier basis."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class OperandGroup:
    """A finite group with elements 0 to n - 1, and the element that each token stands for.

    If the group fits the operation, the answer of a question is a∘b or a∘b^-1: the residues modulo p under addition for
    `add` and `sub`, the nonzero residues under multiplication for `mul` and `div`. Other operations modulo p have the
    additive group.

    Attributes:
        elements: element of each token and each class [V] int64; -1 for a symbol, and for 0 under multiplication.
        products: the Cayley table [n, n] int64, with a∘b in row a and column b.
        orders: orders n1, n2, ... of cyclic groups whose direct product this group is. The coordinates of element e are
            its digits in the mixed radix n1, n2, ..., the last one varying fastest, and coordinates add. Empty if it is
            no such product, or not known to be one.
    """

    elements: Tensor
    products: Tensor
    orders: tuple[int, ...] = ()

    @property
    def order(self) -> int:
        """Number of elements n."""
        return len(self.products)
