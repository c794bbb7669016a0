"""Answers that are vectors of numbers: regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from grokplane.answers.base import Answers, OfPoints, Probabilities


@dataclass(frozen=True)
class Numbers(Answers):
    """A vector of numbers for each point (regression): outputs and targets [E, B, C] of a floating dtype.

    Attributes:
        outputs: length C of the vectors.
        tolerance: squared error, the mean over C, below which an answer is correct.
    """

    labelled: ClassVar[bool] = False
    unranked: ClassVar[str] = "numbers, not one of several"

    outputs: int
    tolerance: float

    @property
    def width(self) -> int:
        """Length C of the vectors."""
        return self.outputs

    def fit(self, targets: Tensor) -> bool:
        """See `Answers`."""
        return targets.is_floating_point() and targets.shape[1:] == (self.outputs,)

    def lacks(self, choice: object) -> str:
        """Class labels, if the choice reads them."""
        reads_labels = getattr(choice, "reads", None) == "labels"
        return "class labels, and this task's answers are numbers" if reads_labels else super().lacks(choice)

    def loss(self, loss: OfPoints) -> OfPoints:
        """The loss itself."""
        return loss

    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `Answers`."""
        return (outputs - targets).square().mean(-1) < self.tolerance

    def as_classes(self, targets: Tensor) -> None:  # noqa: ARG002 (numbers have no classes)
        """See `Answers`."""
        return None

    def said(self, outputs: Tensor, probabilities: Probabilities | None, top: int) -> list[dict[str, Any]]:  # noqa: ARG002
        """All outputs."""
        return [{"outputs": row} for row in outputs.tolist()]

    def judged(self, said: dict[str, Any], right: Tensor | None, taught: Tensor | None) -> dict[str, Any]:  # noqa: ARG002
        """`right_answer`, `correct` and the `squared_error`."""
        if right is None:
            return {"right_answer": None, "correct": None, "squared_error": None}
        answer = right.tolist()
        error = sum((a - b) ** 2 for a, b in zip(said["outputs"], answer, strict=True)) / len(answer)
        return {"right_answer": answer, "correct": error < self.tolerance, "squared_error": error}
