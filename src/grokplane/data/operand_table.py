"""The table of a task whose questions are operands in a layout and whose answers are token kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from grokplane.answers import Labels
from grokplane.data.layouts import LAYOUTS
from grokplane.data.mirrors import mirror_classes
from grokplane.data.table import Table
from grokplane.operand_group import OperandGroup


def operand_table(
    operands: Tensor,
    answers: Tensor,
    kinds: int,
    layout: str,
    cosets: Callable[[Sequence[int]], Tensor] | None = None,
    group: OperandGroup | None = None,
) -> Table:
    """The table of these questions; the classes are the tokens of the layout.

    Args:
        operands: of the questions [N, K] int64.
        answers: of the questions [N] int64.
        kinds: number of kinds of operands.
        layout: one of LAYOUTS.
        cosets, group: see `Table`.
    """
    form = LAYOUTS[layout]
    vocabulary = kinds + form.symbols
    return Table(
        form.write(operands, kinds),
        answers,
        vocabulary,
        Labels(vocabulary),
        fixed=form.fixed(operands.shape[1], kinds),
        mirrors=mirror_classes(operands, answers),
        operands=operands,
        symbols=form.symbols,
        cosets=cosets,
        group=group,
    )
