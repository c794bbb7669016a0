"""Sums of K residues as a task: a1 + ... + aK mod p."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grokplane.data import draws, questions
from grokplane.data.layouts import LAYOUTS
from grokplane.data.operand_table import operand_table
from grokplane.data.residues import of_residues
from grokplane.data.split_task import SplitTask
from grokplane.data.table import Table
from grokplane.options import ConfigError, checked, option
from grokplane.random import numpy_generator

GROUP = "data"
MAKING = 4  # peak memory of building the table, measured, in units of the table's size


@dataclass(frozen=True)
@checked
class Sums(SplitTask):
    """Sums of `operands` residues modulo p, all p^K equations or some; the classes are the tokens of the layout."""

    split: Any = option(
        help="which equations train: data/split=random, unordered, balanced, curriculum, label_holdout or ordered"
    )
    p: int = option(31, "modulus", at_least=2, at_most=2_000)
    operands: int = option(3, "number of residues that are added", at_least=2, at_most=5)
    equations: int | None = option(
        None, "size of a random subset of the equations; null: all of them", at_least=2, stackable=True
    )
    residues: int | None = option(
        None, "size of a random subset of the residues, as operands; null: all", at_least=2, stackable=True
    )
    layout: str = option("operands", "tokens of a question: a b, a op b =, or (equals) a b =", choices=LAYOUTS)
    train_fraction: float | None = option(
        0.3, "fraction of the equations for training", above=0, below=1, stackable=True
    )

    def table(self, seed: int) -> Table:
        """The equations in the order of their operands, with the last operand varying fastest; inputs [N, L].

        Raises:
            ConfigError: more equations or residues than exist, or a table that does not fit in memory.
        """
        residues = self.operand_set(seed)
        places = len(residues) ** torch.arange(self.operands - 1, -1, -1)
        digits = self._numbers(seed, len(residues))[:, None] // places % len(residues)
        operands = residues[digits]
        group = of_residues("add", self.p, self.p + LAYOUTS[self.layout].symbols)
        return operand_table(operands, operands.sum(1) % self.p, self.p, self.layout, group=group)

    def operand_set(self, seed: int) -> Tensor:
        """The residues that are added, ascending int64: all p, or the subset A drawn by the seed.

        Raises:
            ConfigError: more residues than exist.
        """
        if self.residues is None:
            return torch.arange(self.p)
        if self.residues > self.p:
            raise ConfigError("data.residues", self.residues, f"must be at most {self.p}, the modulus data.p")
        chosen = draws.distinct(self.p, self.residues, numpy_generator(seed, "residues"))
        return torch.from_numpy(chosen).sort().values

    def _numbers(self, seed: int, base: int) -> Tensor:
        """The equations as numbers [N] int64, ascending: digit k in that base is the index of operand k."""
        tokens = LAYOUTS[self.layout].length(self.operands)
        row_bytes = MAKING * (tokens + 1) * torch.int64.itemsize
        return draws.rows_of("data.equations", self.equations, base**self.operands, row_bytes, seed, "equations")

    def ask(self, operands: Sequence[str]) -> Tensor:
        """The question of this many residues, drawn or not, tokens [L] int64; ConfigError for other operands."""
        numbers = questions.residues(operands, self.operands, self.p)
        return LAYOUTS[self.layout].write(torch.tensor([numbers]), self.p)[0]


CHOICES = {"sums": Sums}
