"""Kinds of answers: what the outputs of a network are worth against the targets of a task.

A task names its kind of answers in its table (`Table.answers`). Code that reads outputs or targets (the loss of a
step, metrics, information, `predict`) asks this object and makes no assumption of its own about their shapes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

from torch import Tensor

from grokplane.derivatives import transformed

# A target that takes part in no loss and no accuracy: a position after the end of a sequence.
NOT_SCORED = -100
# What a loss or a metric can declare in a class variable `reads`: targets that are class labels, or vectors of numbers;
# or sequences of labels, or sequences that are fed back (`LabelSequence`).
Reads = Literal["labels", "vectors", "sequences", "fed_back"]
# A function of outputs [E, B, C] and targets [E, B, ...] with a value for each point [E, B].
OfPoints = Callable[[Tensor, Tensor], Tensor]
Probabilities = Callable[[Tensor], Tensor]


class Classes(NamedTuple):
    """Answers as classes: one label for each point, int64, below `number`."""

    labels: Tensor
    number: int


class Answers(ABC):
    """What all kinds of answers have in common.

    Attributes:
        labelled: whether the answers are class labels, or sequences of class labels.
        unranked: why `predict` cannot list further answers by probability; "" if it can.
    """

    labelled: ClassVar[bool] = True
    unranked: ClassVar[str] = ""

    @property
    @abstractmethod
    def width(self) -> int:
        """Length C of an output vector."""

    @property
    def positions(self) -> int | None:
        """Number T of output vectors that a network gives for each point; None for a single vector [C]."""
        return None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the outputs of one point: (C,) or (T, C)."""
        return (self.width,) if self.positions is None else (self.positions, self.width)

    @abstractmethod
    def fit(self, targets: Tensor) -> bool:
        """Whether targets [N, ...] are answers of this kind."""

    def lacks(self, choice: object) -> str:
        """What a loss or a metric reads and these answers are not; "" where it can read them."""
        if getattr(choice, "reads", None) not in ("sequences", "fed_back"):
            return ""  # labels can be read as vectors too
        return "sequences of labels, and this task has a single answer for each point"

    def of_points(self, function: OfPoints) -> OfPoints:
        """A function of output vectors and labels, applied to whole points: outputs [E, B, ...] -> [E, B].

        Args:
            function: of outputs [E, B, C] and labels [E, B]; gives [E, B].
        """
        return function

    def loss(self, loss: OfPoints) -> OfPoints:
        """The loss of each point: a function of outputs [E, B, ...] and targets [E, B, ...] that gives [E, B].

        Args:
            loss: a choice of the config group `loss`.
        """
        reads_vectors = getattr(loss, "reads", None) == "vectors"
        return self.of_points(partial(_of_one_hot, loss) if reads_vectors else loss)

    @abstractmethod
    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Which points [E, B] are answered correctly, bool; outputs that are NaN are never correct."""

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Accuracy of each point by metric name: flags or shares [E, B]; `Acc` is `correct`."""
        return {"Acc": self.correct(outputs, targets)}

    def first_read(self, targets: Tensor) -> Tensor | None:  # noqa: ARG002 (most inputs do not contain the answer)
        """The output [E, B] from which the first token of each point's answer is read, if later inputs contain it.

        Where layers are compared with the question, they are looked at there. None: no input contains the answer.
        """
        return None

    @abstractmethod
    def as_classes(self, targets: Tensor) -> Classes | None:
        """The class of each point's answer, [n, ...] -> [n]; None for numbers, which have no classes."""

    @abstractmethod
    def said(self, outputs: Tensor, probabilities: Probabilities | None, top: int) -> list[dict[str, Any]]:
        """What `predict` reports of outputs [Q, ...], one dict for each question.

        Args:
            outputs: of the questions.
            probabilities: turns outputs [..., C] into probabilities [..., C]; None: the loss defines none.
            top: number of further answers.
        """

    def judged(self, said: dict[str, Any], right: Tensor | None, taught: Tensor | None) -> dict[str, Any]:
        """`right_answer`, `correct` and `taught` (the training target) of one question; None where unknown.

        Args:
            said: what `said` gives for the question.
            right: its row of the table's targets; None if the question is not in the table.
            taught: its training target; None if the question is not trained on.
        """
        answer = None if right is None else _listed(right)
        correct = None if right is None else said["answer"] == answer
        return {"right_answer": answer, "correct": correct, "taught": None if taught is None else _listed(taught)}


def right(outputs: Tensor, labels: Tensor) -> Tensor:
    """Which labels [...] are predicted by outputs [..., C]. A NaN is no answer, though torch calls it the largest."""
    largest, predicted = outputs.max(-1)
    return (predicted == labels) & ~largest.isnan()


def are_labels(targets: Tensor, count: int) -> bool:
    """Whether targets are whole numbers from 0 to count - 1."""
    is_integer = not (targets.is_floating_point() or targets.is_complex())
    return is_integer and (targets.numel() == 0 or (int(targets.min()) >= 0 and int(targets.max()) < count))


def _of_one_hot(loss: OfPoints, outputs: Tensor, labels: Tensor) -> Tensor:
    """A loss of vectors against the one-hot codes of labels.

    Not F.one_hot, which gives int64 and first asks for the least and the largest label.
    """
    zeros, label = labels.new_zeros(outputs.shape, dtype=outputs.dtype), labels[..., None]
    return loss(outputs, zeros.scatter(-1, label, 1) if transformed() else zeros.scatter_(-1, label, 1))


def _listed(target: Tensor) -> Any:
    """A label, or the labels of a sequence with None where nothing is scored."""
    found = target.tolist()
    return [None if token == NOT_SCORED else token for token in found] if isinstance(found, list) else found
