"""Tables of questions with two operands as functions of pairs of elements of a group, for all members at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from grokplane.mechanism import pairs
from grokplane.mechanism.waves import Waves
from grokplane.metrics.elements import of_operands
from grokplane.metrics.padded import stacked
from grokplane.operand_group import OperandGroup
from grokplane.options import ConfigError


@dataclass(frozen=True, eq=False)
class Frame:
    """The abelian groups of the members, padded to the largest order n and number of frequencies M.

    Attributes:
        waves: see `Waves.pairs` [E, 2, M, n]; zero in padding.
        exists: which frequencies a member has besides the constant [E, M], bool.
        alone: frequencies without a sine [E, M], bool.
        elements: element of each token [E, V], -1 for symbols.
        sizes: order of each group [E] int64.
        cell: pairs on which the variable of a family is an element [4, E, n, n], as a n + b; n^2 in padding.
        variable: the variable of each family at each pair [4, E, n^2 + 1]; n in padding and at n^2.
    """

    waves: Tensor
    exists: Tensor
    alone: Tensor
    elements: Tensor
    sizes: Tensor
    cell: Tensor
    variable: Tensor

    @property
    def order(self) -> int:
        """The largest order n."""
        return self.waves.shape[3]

    def on_tokens(self, values: Tensor) -> Tensor:
        """Functions of the token [E, V, R] as functions of the element [E, n, R], without those of symbols."""
        index = torch.where(self.elements < 0, self.order, self.elements)[..., None].expand_as(values)
        found = values.new_zeros(len(values), self.order + 1, values.shape[2], dtype=torch.float64)
        return found.scatter_(1, index, values.double())[:, :-1]


class Grid:
    """The questions of all members as pairs of elements.

    Args:
        own: the members' groups.
        operands: of each question [E, N, 2], -1 in padding.

    Attributes:
        cells: the pair of each question [E, N] as a n + b; n^2 where an operand is no element.
        real: questions whose operands are elements [E, N], bool.
    """

    def __init__(self, own: Frame, operands: Tensor) -> None:
        element = of_operands(own.elements, operands)
        self.frame = own
        self.real = (element >= 0).all(2)
        self.cells = torch.where(self.real, element[..., 0] * own.order + element[..., 1], own.order**2)
        pairs_of = own.sizes.square()
        self._pairs = torch.where(self.real.sum(1) == pairs_of, pairs_of.double(), torch.nan)
        members, count = self.cells.shape
        self._questions = self.cells.new_full((members, own.order**2 + 1), count)
        self._questions.scatter_(1, self.cells, torch.arange(count, device=operands.device).expand_as(self.cells))
        self._questions[:, -1] = count

    def of(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of values over all pairs, and the differences to it by pair.

        Args:
            values: of the questions in table order [E, N, R].

        Returns:
            [E, R] and [E, n^2 + 1, R]; zero in padding and at n^2. All are NaN for a member of which not all pairs are
            questions.
        """
        found = pairs.spread(values, self._questions)
        mean = found.sum(1) / self._pairs[:, None].to(values.dtype)
        there = self._questions < len(values[0])
        return mean, torch.where(there[..., None], found - mean[:, None], 0)

    def means(self, values: Tensor) -> list[Tensor]:
        """Means [E, n, R] in float64 of functions of pairs over the pairs of each element, for each of the families."""
        return [pairs.means(values, cell, self.frame.sizes).double() for cell in self.frame.cell]


def frame(groups: Sequence[OperandGroup | None], device: torch.device) -> Frame:
    """The frame of the members' groups; the last ones are kept.

    Raises:
        ConfigError: a group that is no product of cyclic groups.
    """
    known = tuple(group for group in groups if group is not None)
    if not all(group.orders for group in known):
        allowed = "needs a group that is a product of cyclic groups; metrics=[irreps] reads any group"
        raise ConfigError("metrics", "fourier", allowed)
    return _frame(known, device)


@lru_cache(maxsize=4)
def _frame(groups: tuple[OperandGroup, ...], device: torch.device) -> Frame:
    waves = {group.orders: Waves(group.orders) for group in groups}
    tables = {group.orders: pairs.variables(group.products) for group in groups}  # the orders determine the products
    own, variables = [waves[group.orders] for group in groups], [tables[group.orders] for group in groups]
    n = max(group.order for group in groups)
    cells = [_widened(pairs.cells(one), one.shape[1], n) for one in variables]
    variable = stacked(variables, n, device).flatten(2)
    exists = stacked([torch.ones_like(one.alone) for one in own], False, device)
    exists[:, 0] = False
    return Frame(
        waves=stacked([one.pairs for one in own], 0.0, device),
        exists=exists,
        alone=stacked([one.alone for one in own], False, device),
        elements=stacked([group.elements for group in groups], -1, device),
        sizes=torch.tensor([group.order for group in groups], device=device),
        cell=stacked(cells, n * n, device).transpose(0, 1),
        variable=torch.nn.functional.pad(variable, (0, 1), value=n).transpose(0, 1),
    )


def _widened(cells: Tensor, own: int, n: int) -> Tensor:
    """Pairs a own + b as a n + b."""
    return cells // own * n + cells % own
