"""Tasks as tables of questions and answers, splits, label noise, index streams, and their stack on the device."""

from grokplane.data.addition import Addition
from grokplane.data.balanced import BalancedSplit
from grokplane.data.batches import SAMPLERS, Batches, Shuffled, WithReplacement
from grokplane.data.cosets import CosetSplit
from grokplane.data.curriculum import CurriculumSplit
from grokplane.data.group import Group
from grokplane.data.images import Digits
from grokplane.data.layouts import LAYOUTS, Layout
from grokplane.data.lists import Copy, Reverse, Sort
from grokplane.data.mnist import MNIST, FashionMNIST
from grokplane.data.modular import Modular
from grokplane.data.multitask import Multitask
from grokplane.data.operations import OPERATIONS, Operation
from grokplane.data.parity import Parity
from grokplane.data.permutations import Permutations
from grokplane.data.sequence import DigitSequence
from grokplane.data.splits import LabelHoldout, OrderedSplit, RandomSplit, UnorderedSplit
from grokplane.data.stacked import StackedExamples, StackedSubset, stack
from grokplane.data.sums import Sums
from grokplane.data.table import Examples, Table, Task
from grokplane.data.teacher_student import TeacherStudent

__all__ = [
    "LAYOUTS",
    "MNIST",
    "OPERATIONS",
    "SAMPLERS",
    "Addition",
    "BalancedSplit",
    "Batches",
    "Copy",
    "CosetSplit",
    "CurriculumSplit",
    "DigitSequence",
    "Digits",
    "Examples",
    "FashionMNIST",
    "Group",
    "LabelHoldout",
    "Layout",
    "Modular",
    "Multitask",
    "Operation",
    "OrderedSplit",
    "Parity",
    "Permutations",
    "RandomSplit",
    "Reverse",
    "Shuffled",
    "Sort",
    "StackedExamples",
    "StackedSubset",
    "Sums",
    "Table",
    "Task",
    "TeacherStudent",
    "UnorderedSplit",
    "WithReplacement",
    "stack",
]
