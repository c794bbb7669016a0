"""Tasks as tables of questions and answers, splits, label noise, index streams, and their stack on the device."""

from grokplane.data.batches import SAMPLERS, Batches, Shuffled, WithReplacement
from grokplane.data.modular import Modular
from grokplane.data.operations import OPERATIONS, Operation
from grokplane.data.splits import LabelHoldout, OrderedSplit, RandomSplit
from grokplane.data.stacked import StackedExamples, StackedSubset, stack
from grokplane.data.table import Examples, Table, Task

__all__ = [
    "OPERATIONS",
    "SAMPLERS",
    "Batches",
    "Examples",
    "LabelHoldout",
    "Modular",
    "Operation",
    "OrderedSplit",
    "RandomSplit",
    "Shuffled",
    "StackedExamples",
    "StackedSubset",
    "Table",
    "Task",
    "WithReplacement",
    "stack",
]
