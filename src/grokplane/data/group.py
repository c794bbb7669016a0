"""Finite groups as tasks: all pairs of elements, and their products."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grokplane.data import families, questions
from grokplane.data.cayley import FiniteGroup
from grokplane.data.cayley_file import read_group
from grokplane.data.layouts import LAYOUTS
from grokplane.data.operand_table import operand_table
from grokplane.data.split_task import SplitTask
from grokplane.data.table import Table
from grokplane.operand_group import OperandGroup
from grokplane.options import ConfigError, checked, option
from grokplane.resources import check_fits

GROUP = "data"
DEFAULT = "S5"
MAKING = 4  # peak memory of building the table, measured, in units of the table's size
OPERATIONS: dict[str, Callable[[FiniteGroup], Tensor]] = {
    "product": lambda group: group.products,
    "conjugate": lambda group: group.products_times(group.inverses),
    "aba": lambda group: group.products_times(group.elements),
}


@dataclass(frozen=True)
@checked
class Group(SplitTask):
    """All pairs of elements of a finite group under a∘b, a∘b∘a^-1 or a∘b∘a; the classes are the layout's tokens.

    An element's token is its number. In a named group the identity is 0, and the others are numbered as follows; in a
    Cayley table, row a and column b hold a∘b.

    - `Z6`, cyclic: k is k; a∘b is a + b modulo 6.
    - `D7`, dihedral of order 14: k + 7 j is r^k s^j, so that 0 to 6 are rotations. r^7 = s^2 = e, s r s = r^-1.
    - `S5`, symmetric: the permutations in lexicographic order of their images; a∘b applies b first.
    - `A5`, alternating: the even permutations, in the same order.
    - `Q8`, quaternions, and the dicyclic groups `Q12`, `Q16`, ... of order 4n: k + 2n j is x^k y^j. x^2n = e,
      y^2 = x^n, y x y^-1 = x^-1.
    - `D4xZ3xS3`, direct product: the number of (a, b, c) has the last factor varying fastest.
    """

    split: Any = option(help="which pairs train: data/split=random, cosets, unordered, label_holdout or ordered")
    group: str | None = option(
        None, f"Z6, D7, S5, A5, Q8, or a direct product such as D4xZ3; null: that of cayley, else {DEFAULT}"
    )
    cayley: str | None = option(None, "file with a Cayley table, as text or .npy, in place of group", file=True)
    operation: str = option("product", "a∘b, a∘b∘a^-1 or a∘b∘a", choices=OPERATIONS, stackable=True)
    layout: str = option("operands", "tokens of a question: a b, a op b =, or (equals) a b =", choices=LAYOUTS)
    train_fraction: float | None = option(0.5, "fraction of the pairs for training", above=0, below=1, stackable=True)

    def __post_init__(self) -> None:
        """Raise ConfigError if both group and cayley are given."""
        if self.group is not None and self.cayley is not None:
            raise ConfigError("data.group", self.group, "excludes data.cayley; leave one of them out")

    def table(self, seed: int) -> Table:  # noqa: ARG002 (nothing of it is drawn)
        """All n^2 pairs, ordered by the first operand and then by the second; inputs [n^2, 2 to 4].

        Raises:
            ConfigError: no such group, a file without the Cayley table of a group, or a table that does not fit.
        """
        return pairs(self._elements(), self.operation, self.layout)

    def ask(self, operands: Sequence[str]) -> Tensor:
        """The question of two elements by their numbers, tokens [L] int64; ConfigError for other operands."""
        return question(operands, self._elements().order, self.layout)

    def _elements(self) -> FiniteGroup:
        if self.cayley is not None:
            found = read_group(self.cayley)
            self._check_fits("data.cayley", self.cayley, found.order)
            return found
        name = DEFAULT if self.group is None else self.group
        self._check_fits("data.group", name, families.order(name))
        return families.named(name)

    def _check_fits(self, key: str, value: str, order: int) -> None:
        row = (LAYOUTS[self.layout].length(2) + 1) * torch.int64.itemsize
        check_fits(key, value, order**2, MAKING * row)


def pairs(group: FiniteGroup, operation: str, layout: str) -> Table:
    """The table of all pairs of elements, ordered by the first and then by the second.

    Args:
        group: whose elements are the operands.
        operation: one of OPERATIONS.
        layout: one of LAYOUTS.
    """
    operands = torch.cartesian_prod(group.elements, group.elements)
    answers = OPERATIONS[operation](group).flatten()
    elements = torch.full((group.order + LAYOUTS[layout].symbols,), -1)
    elements[: group.order] = group.elements
    structure = OperandGroup(elements, group.products, group.orders)
    return operand_table(operands, answers, group.order, layout, group.cosets, structure)


def question(operands: Sequence[str], order: int, layout: str) -> Tensor:
    """The tokens [L] int64 of a question that a user types, of two elements of a group of this order.

    Raises:
        ConfigError: operands that are not two numbers of elements.
    """
    pair = questions.residues(operands, 2, order)
    return LAYOUTS[layout].write(torch.tensor([pair]), order)[0]


CHOICES = {"group": Group}
