"""The split that holds out products of cosets, for tasks on a group."""

from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.data.splits import given, part_of
from grokplane.data.table import Table
from grokplane.options import ConfigError, checked, option
from grokplane.random import generator

GROUP = "data/split"


@dataclass(frozen=True)
@checked
class CosetSplit:
    """Whole blocks aH x bH of left cosets of a subgroup H train, the other blocks are held out.

    A subgroup of index m makes m^2 blocks, in an order drawn by the seed. The first m blocks have each coset once as
    first and once as second operand; m blocks at least train. So every element is trained as both operands, and a
    held-out block is never seen. With the same seed, a larger fraction contains a smaller one.
    """

    generators: list[int] = option([], "numbers of the elements that generate the subgroup", at_least=0, stackable=True)

    def __call__(self, table: Table, fraction: float | None, seed: int) -> tuple[Tensor, Tensor]:
        """Rows (train [n], test [m]), block after block.

        Raises:
            ConfigError: a task that is no group, generators that are no elements or generate a subgroup that is
                trivial or the whole group, or a fraction that is null or leaves an operand without training.
        """
        if table.cosets is None or table.operands is None:
            raise ConfigError(
                "data/split", "cosets", "needs the elements of a group, data=group; use data/split=random"
            )
        cosets = table.cosets(self.generators)
        index = int(cosets.max()) + 1
        if index in (1, len(cosets)):
            allowed = f"must generate a proper, non-trivial subgroup; they generate one of order {len(cosets) // index}"
            raise ConfigError("data.split.generators", self.generators, f"{allowed} in a group of order {len(cosets)}")
        count = part_of(index**2, given(fraction))
        if count < index:
            allowed = f"trains {count} of {index**2} blocks; {index} are needed for every element to train"
            raise ConfigError("data.train_fraction", fraction, allowed)
        first, second = cosets[table.operands].unbind(1)
        places = _order(index, seed).argsort()[first * index + second]
        rows = places.argsort(stable=True)
        trained = int((places < count).sum())
        return rows[:trained], rows[trained:]


def _order(index: int, seed: int) -> Tensor:
    """The numbers of the blocks in the order in which they train [index^2] int64; block (i, j) is i index + j."""
    source = generator(seed, "split")
    drawn, matched = torch.randperm(index**2, generator=source), torch.randperm(index, generator=source)
    first = torch.arange(index) * index + matched
    return torch.cat([first, drawn[~torch.isin(drawn, first)]])


CHOICES = {"cosets": CosetSplit}
