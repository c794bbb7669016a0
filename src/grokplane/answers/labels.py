"""Answers that are one class label for each point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from grokplane.answers.base import Answers, Classes, Probabilities, are_labels, right


@dataclass(frozen=True)
class Labels(Answers):
    """One class label for each point: outputs [E, B, C], targets [E, B] int64, 0 to C - 1."""

    classes: int

    @property
    def width(self) -> int:
        """The number of classes C."""
        return self.classes

    def fit(self, targets: Tensor) -> bool:
        """See `Answers`."""
        return targets.dim() == 1 and are_labels(targets, self.classes)

    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Of equal outputs, the first one is the predicted class."""
        return right(outputs, targets)

    def as_classes(self, targets: Tensor) -> Classes:
        """The labels themselves."""
        return Classes(targets, self.classes)

    def said(self, outputs: Tensor, probabilities: Probabilities | None, top: int) -> list[dict[str, Any]]:
        """Answers by decreasing output; of equal outputs, the first one comes first, as in accuracy."""
        name, values = ("score", outputs) if probabilities is None else ("probability", probabilities(outputs))
        order = outputs.sort(dim=-1, descending=True, stable=True).indices[:, : top + 1]
        found = []
        for labels, numbers in zip(order.tolist(), values.gather(-1, order).tolist(), strict=True):
            first, *others = [{"answer": label, name: number} for label, number in zip(labels, numbers, strict=True)]
            found.append(first | {"next": others})
        return found
