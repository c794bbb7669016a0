"""The symmetric group S5 as a task: Power et al. 2022, "Grokking", appendix A.1."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from grokplane.data.families import named
from grokplane.data.group import pairs, question
from grokplane.data.layouts import LAYOUTS
from grokplane.data.split_task import SplitTask
from grokplane.data.table import Table
from grokplane.options import checked, option

GROUP = "data"
OPERATIONS = {"s5": "product", "s5_conjugate": "conjugate", "s5_aba": "aba"}


@dataclass(frozen=True)
@checked
class Permutations(SplitTask):
    """All pairs of the 120 permutations of 5 elements under a∘b, a∘b∘a^-1 or a∘b∘a.

    A permutation's token is its lexicographic index; the identity is 0. The classes are the layout's tokens. This is
    the task `group` for S5, under the names of the paper.
    """

    split: Any = option(
        help="which pairs train: data/split=random, cosets, balanced, curriculum, label_holdout or ordered"
    )
    operation: str = option("s5", "a∘b, a∘b∘a^-1 or a∘b∘a, where a∘b does b first", choices=OPERATIONS, stackable=True)
    layout: str = option("operands", "tokens of a question: a b, a op b =, or (equals) a b =", choices=LAYOUTS)
    train_fraction: float | None = option(0.5, "fraction of the pairs for training", above=0, below=1, stackable=True)

    def table(self, seed: int) -> Table:  # noqa: ARG002 (nothing of it is drawn)
        """All 14,400 pairs, ordered by the first operand and then by the second; inputs [14400, 2 to 4]."""
        return pairs(named("S5"), OPERATIONS[self.operation], self.layout)

    def ask(self, operands: Sequence[str]) -> Tensor:
        """The question of two permutations by their indices, tokens [L] int64; ConfigError for other operands."""
        return question(operands, named("S5").order, self.layout)


CHOICES = {"permutations": Permutations}
