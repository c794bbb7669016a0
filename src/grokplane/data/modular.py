"""Binary operations modulo p as a task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grokplane.data import questions
from grokplane.data.layouts import LAYOUTS
from grokplane.data.operand_table import operand_table
from grokplane.data.operations import OPERATIONS, is_prime
from grokplane.data.residues import of_residues
from grokplane.data.split_task import SplitTask
from grokplane.data.table import Table
from grokplane.options import ConfigError, checked, option

GROUP = "data"


@dataclass(frozen=True)
@checked
class Modular(SplitTask):
    """All pairs of residues modulo p under one operation; the classes are the tokens of the layout."""

    split: Any = option(
        help="which pairs train: data/split=unordered, random, balanced, curriculum, label_holdout or ordered"
    )
    p: int = option(53, "modulus", at_least=2, at_most=2_000)
    operation: str = option("add", "operation on the two operands", choices=OPERATIONS, stackable=True)
    layout: str = option("operands", "tokens of a question: a b, a op b =, or (equals) a b =", choices=LAYOUTS)
    train_fraction: float | None = option(0.6, "fraction of the pairs for training", above=0, below=1, stackable=True)

    def table(self, seed: int) -> Table:
        """All N pairs, N = p^2 or, for div, p(p-1); inputs [N, 2 to 4]. Only `random` depends on the seed.

        Raises:
            ConfigError: a division modulo a number that is not prime.
        """
        operation = OPERATIONS[self.operation]
        if operation.needs_prime and not is_prime(self.p):
            raise ConfigError("data.operation", self.operation, f"needs a prime data.p, not {self.p}")
        x, y = operation.operands(self.p)
        answers = operation.answer(x, y, self.p, seed)
        group = of_residues(self.operation, self.p, self.p + LAYOUTS[self.layout].symbols)
        return operand_table(torch.stack([x, y], 1), answers, self.p, self.layout, group=group)

    def ask(self, operands: Sequence[str]) -> Tensor:
        """The question of two residues, tokens [L] int64; ConfigError if the operands are not such a pair."""
        pair = questions.residues(operands, 2, self.p)
        if OPERATIONS[self.operation].nonzero_second and pair[1] == 0:
            raise questions.refused(operands, f"the second operand must be 1 to {self.p - 1}")
        return LAYOUTS[self.layout].write(torch.tensor([pair]), self.p)[0]


CHOICES = {"modular": Modular}
