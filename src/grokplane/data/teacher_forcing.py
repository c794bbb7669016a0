"""Tasks whose answers are fed back: the inputs contain the question and the answer (teacher forcing)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from grokplane.answers import NOT_SCORED
from grokplane.data.noise import with_label_noise
from grokplane.data.split_task import SplitTask
from grokplane.data.table import Examples, Table

Written = tuple[Tensor, Tensor]  # tokens [N, K] int64, and which of them are written [N, K], bool


def taught(question: Written, answer: Written, first: int, padding: int) -> tuple[Tensor, Tensor]:
    """Rows in which every token of the answer is predicted from those before it.

    The question's tokens come first, then the answer's, without gaps, then the padding.

    Args:
        question: its tokens.
        answer: its tokens; all that are written are scored.
        first: the first input at which a question can end.
        padding: the token behind the answer.

    Returns:
        The rows without their last token [N, L], and targets [N, T] of the last T = L - `first` inputs.
    """
    tokens, written = (torch.cat(parts, 1) for parts in zip(question, answer, strict=True))
    scored = written.clone()
    scored[:, : question[0].shape[1]] = False
    order = (~written).int().argsort(dim=1, stable=True)
    tokens = tokens.masked_fill(~written, padding).gather(1, order)
    targets = tokens.masked_fill(~scored.gather(1, order), NOT_SCORED)
    return tokens[:, :-1].contiguous(), targets[:, first + 1 :].contiguous()


class Population(NamedTuple):
    """The questions of a task and their answers.

    Attributes:
        operands: of the questions [N, K] int64.
        answers: numbers [N] or lists of tokens [N, K], int64.
        inside: number of questions of the domain, the first ones; the others are out of the domain.
    """

    operands: Tensor
    answers: Tensor
    inside: int


@dataclass(frozen=True)
class TaughtTask(SplitTask):
    """Base of tasks whose inputs contain the answer.

    Wrong training answers of label noise stand in the inputs, too: their questions have another row, behind the
    table's own, with the wrong answer in its inputs and the right one in its targets.
    """

    def population(self, seed: int) -> Population:
        """The questions and answers; ConfigError for keys that do not fit together."""
        raise NotImplementedError(f"{type(self).__name__} has no questions")

    def write(self, operands: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs [N, L] and targets [N, T] of questions with these answers."""
        raise NotImplementedError(f"{type(self).__name__} has no rows")

    def table_of(self, population: Population) -> Table:
        """The table of these questions."""
        raise NotImplementedError(f"{type(self).__name__} has no table")

    def table(self, seed: int) -> Table:
        """Questions in the order of their operands, first those of the domain; inputs [N, L], targets [N, T]."""
        return self.table_of(self.population(seed))

    def examples(self, seed: int) -> Examples:
        """See `SplitTask`; questions out of the domain are the third subset and never train."""
        population = self.population(seed)
        table, rows = self.table_of(population), torch.arange(len(population.operands))
        inside, outside = rows[: population.inside], rows[population.inside :]
        train, test = self.split(_taken(table, inside), self.train_fraction, seed)
        right = population.answers[train]
        given = with_label_noise(right, self.label_noise, seed)
        wrong = (given != right).reshape(len(right), -1).any(1)
        targets = table.targets[train]
        if bool(wrong.any()):
            inputs, targets[wrong] = self.write(population.operands[train[wrong]], given[wrong])
            table = _taken(table, torch.cat([rows, train[wrong]]))
            table = replace(table, inputs=torch.cat([table.inputs[: len(rows)], inputs]))
            train = train.masked_scatter(wrong, torch.arange(len(rows), len(table.inputs)))
        return Examples(table, train, test, targets, ood=outside if len(outside) else None)


def _taken(table: Table, rows: Tensor) -> Table:
    """These rows of a table."""
    return replace(
        table,
        inputs=table.inputs[rows],
        targets=table.targets[rows],
        mirrors=None if table.mirrors is None else table.mirrors[rows],
        operands=None if table.operands is None else table.operands[rows],
        groups={name: flags[rows] for name, flags in table.groups.items()},
    )
