"""Tasks with an out-of-domain subset, and their twins, whose out-of-domain questions are held out instead.

Also a plug-in with one of the tasks, and a metric that gives an array.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from grokplane.data import Digits, Examples, Modular, RandomSplit, Table, TeacherStudent
from grokplane.data.split_task import SplitTask
from grokplane.metrics import Array, Metric, Observation
from grokplane.options import checked, option


@dataclass(frozen=True)
@checked
class Far(SplitTask):
    """Addition modulo 7: pairs of residues below `near` train and are held out, the others are out of domain."""

    split: Any = option(help="which of the pairs below `near` train")
    near: int = option(5, "residues from this one on are out of domain", at_least=3, at_most=6, stackable=True)
    layout: str = option("operands", "tokens of a question", choices=["operands", "equals"])

    @property
    def _pairs(self) -> Modular:
        return Modular(RandomSplit(), p=7, layout=self.layout)

    def table(self, seed: int) -> Table:
        table = self._pairs.table(seed)
        return replace(table, groups={"even": table.inputs[:, 0] % 2 == 0, "six": table.inputs[:, 0] == 6})

    def examples(self, seed: int) -> Examples:
        found, far = self._near(seed)
        return replace(found, ood=far, groups={"ood": {"zero": found.table.targets[far] == 0}})

    def _near(self, seed: int) -> tuple[Examples, Tensor]:
        """The examples without an out-of-domain subset, and its rows."""
        table = self.table(seed)
        inside = (table.inputs[:, :2] < self.near).all(1)
        rows = inside.nonzero().flatten()
        train, test = self.split(replace(table, targets=table.targets[rows]), self.train_fraction, seed)
        return Examples(table, rows[train], rows[test], table.targets[rows[train]]), (~inside).nonzero().flatten()

    def ask(self, operands: Any) -> Tensor:
        return self._pairs.ask(operands)


class Near(Far):
    """The same without the out-of-domain subset."""

    def examples(self, seed: int) -> Examples:
        return self._near(seed)[0]


class Twin(Far):
    """The out-of-domain questions are the held-out ones."""

    def examples(self, seed: int) -> Examples:
        found, far = self._near(seed)
        return replace(found, test=far, groups={"test": {"zero": found.table.targets[far] == 0}})


def halved(found: Examples, twin: bool) -> Examples:
    """The second half of the held-out points is out of domain; in the twin it is held out."""
    half = len(found.test) // 2
    near, far = found.test[:half], found.test[half:]
    return replace(found, test=far) if twin else replace(found, test=near, ood=far)


class FarDigits(Digits):
    """Images with an out-of-domain subset."""

    def examples(self, seed: int) -> Examples:
        return halved(super().examples(seed), twin=False)


class TwinDigits(Digits):
    """Its twin."""

    def examples(self, seed: int) -> Examples:
        return halved(super().examples(seed), twin=True)


class FarTeacher(TeacherStudent):
    """Features and numbers with an out-of-domain subset."""

    def examples(self, seed: int) -> Examples:
        return halved(super().examples(seed), twin=False)


class TwinTeacher(TeacherStudent):
    """Its twin."""

    def examples(self, seed: int) -> Examples:
        return halved(super().examples(seed), twin=True)


@dataclass(frozen=True)
class TableOutputs(Metric):
    """`outputs`: the outputs of all questions in the order of the table, an array [N, C]."""

    def __call__(self, seen: Observation) -> dict[str, Array]:
        return {"outputs": Array(seen.table_outputs)}


CHOICES = {"data": {"far": Far}, "metrics": {"table_outputs": TableOutputs}}
