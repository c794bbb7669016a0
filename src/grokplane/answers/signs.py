"""Answers that are the sign of a single output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from grokplane.answers.base import Answers, Classes, OfPoints, Probabilities


@dataclass(frozen=True)
class Signs(Answers):
    """A sign for each point: one output f [E, B, 1], whose sign is the answer, and targets y [E, B] int64, 1 or -1.

    A loss gets the targets as vectors of one number [E, B, 1]: with the mean squared error the loss is (f - y)^2.
    """

    unranked: ClassVar[str] = "signs, of which there are two"

    @property
    def width(self) -> int:
        """One output."""
        return 1

    def fit(self, targets: Tensor) -> bool:
        """See `Answers`."""
        return targets.dim() == 1 and not targets.is_floating_point() and bool((targets.abs() == 1).all())

    def lacks(self, choice: object) -> str:
        """Class labels, if the choice reads only them."""
        reads_labels = getattr(choice, "reads", None) == "labels"
        return "class labels, and this task's answers are signs" if reads_labels else super().lacks(choice)

    def loss(self, loss: OfPoints) -> OfPoints:
        """The loss of the output and the target as vectors."""
        return lambda outputs, targets: loss(outputs, targets[..., None].to(outputs.dtype))

    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The output has the sign of the target; 0 has none."""
        return outputs.squeeze(-1) * targets > 0

    def as_classes(self, targets: Tensor) -> Classes:
        """Class 0 for -1, class 1 for 1."""
        return Classes((targets > 0).long(), 2)

    def said(self, outputs: Tensor, probabilities: Probabilities | None, top: int) -> list[dict[str, Any]]:  # noqa: ARG002
        """The sign and, as score, the output; 0 for an output of 0 or NaN, which has no sign."""
        values = outputs.squeeze(-1).tolist()
        return [{"answer": (one > 0) - (one < 0), "score": one, "next": []} for one in values]
