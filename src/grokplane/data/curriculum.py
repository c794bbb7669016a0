"""The split by the size of operands: small ones train, larger ones are held out."""

from dataclasses import dataclass

from torch import Tensor

from grokplane.data.splits import train_count
from grokplane.data.table import Table
from grokplane.options import ConfigError

GROUP = "data/split"


@dataclass(frozen=True)
class CurriculumSplit:
    """The fraction of the questions with the smallest operands trains, questions with larger ones are held out.

    The size of a question is its largest operand. Questions of one size are ordered by the sum of their operands, then
    as in the table. A larger fraction contains a smaller one.
    """

    def __call__(self, table: Table, fraction: float | None, seed: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Rows (train [n], test [m]), independent of the seed; errors as for RandomSplit.

        Raises:
            ConfigError: a table without operands.
        """
        if table.operands is None:
            allowed = "needs questions with operands, and this task has none; use data/split=random"
            raise ConfigError("data/split", "curriculum", allowed)
        count = train_count(len(table.targets), fraction)
        by_sum = table.operands.sum(1).argsort(stable=True)
        rows = by_sum[table.operands[by_sum].amax(1).argsort(stable=True)]
        return rows[:count], rows[count:]


CHOICES = {"curriculum": CurriculumSplit}
