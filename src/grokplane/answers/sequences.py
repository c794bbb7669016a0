"""Answers that are sequences of class labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from grokplane.answers.base import NOT_SCORED, Answers, Classes, OfPoints, Probabilities, are_labels, right


@dataclass(frozen=True)
class LabelSequence(Answers):
    """A sequence of class labels (tokens) for each point: outputs [E, B, T, C], targets [E, B, T] int64.

    The targets hold `NOT_SCORED` at positions that are not scored, which may differ from point to point. The loss of a
    point is the mean over its scored tokens. A point is correct if all of its scored tokens are.

    Attributes:
        classes: number of classes C of a token.
        length: number of positions T.
        fed_back: whether the inputs contain the answer (teacher forcing): the input after the one from which a scored
            token is read is that token. Output t of T is read at input L - T + t of L.
        end: the token with which an answer ends; None: it ends with its last scored position.
    """

    unranked: ClassVar[str] = "sequences, of which the most probable token of each position is listed"

    classes: int
    length: int
    fed_back: bool = False
    end: int | None = field(default=None, kw_only=True, repr=False)

    @property
    def width(self) -> int:
        """Number of classes C of a token."""
        return self.classes

    @property
    def positions(self) -> int:
        """Number of positions T."""
        return self.length

    def fit(self, targets: Tensor) -> bool:
        """See `Answers`; each sequence must have a scored token."""
        scored = targets != NOT_SCORED
        shaped = targets.shape[1:] == (self.length,) and bool(scored.any(-1).all())
        return shaped and are_labels(targets[scored], self.classes)

    def lacks(self, choice: object) -> str:
        """Answers that are fed back, if the choice reads them and these are not."""
        if self.fed_back or getattr(choice, "reads", None) != "fed_back":
            return ""
        return "answers that are fed back (teacher forcing), and this task's inputs do not contain them"

    def of_points(self, function: OfPoints) -> OfPoints:
        """The mean over each point's scored tokens."""
        return partial(_mean_of_tokens, function)

    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `Answers`."""
        return self.scores(outputs, targets)["Acc"]

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """`Acc` of whole sequences, and `Acc_token`: the share of a point's scored tokens that are correct."""
        return self.shares(right(outputs, targets), targets)

    def shares(self, flags: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The same from flags [E, B, T] of the tokens that are right; flags where nothing is scored do not count."""
        scored = targets != NOT_SCORED
        return {"Acc": (flags | ~scored).all(-1), "Acc_token": (flags & scored).sum(-1).double() / scored.sum(-1)}

    def first_read(self, targets: Tensor) -> Tensor | None:
        """See `Answers`."""
        return (targets != NOT_SCORED).int().argmax(-1) if self.fed_back else None

    def as_classes(self, targets: Tensor) -> Classes:
        """Each distinct sequence is a class; of answers that are fed back, wherever in the inputs they begin."""
        first = self.first_read(targets)
        if first is not None:
            places = first[..., None] + torch.arange(self.length, device=targets.device)
            targets = F.pad(targets, (0, self.length), value=NOT_SCORED).gather(-1, places)
        rows, labels = targets.flatten(0, -2).unique(dim=0, return_inverse=True)
        return Classes(labels.view(targets.shape[:-1]), len(rows))

    def said(self, outputs: Tensor, probabilities: Probabilities | None, top: int) -> list[dict[str, Any]]:  # noqa: ARG002
        """The most probable token of each position; the product of their probabilities, or the mean of their scores."""
        name, values = ("score", outputs) if probabilities is None else ("probability", probabilities(outputs))
        best = outputs.max(-1).indices
        of_tokens = values.gather(-1, best[..., None]).squeeze(-1)
        numbers = of_tokens.mean(-1) if probabilities is None else of_tokens.prod(-1)
        pairs = zip(best.tolist(), numbers.tolist(), strict=True)
        return [{"answer": answer, name: number, "next": []} for answer, number in pairs]

    def answered(self, outputs: Tensor) -> Tensor:
        """The outputs [n, C] of an answer's tokens, of outputs [T, C] from its first token on: up to its end."""
        if self.end is None:
            return outputs
        ends = (outputs.max(-1).indices == self.end).nonzero().flatten().tolist()
        return outputs[: ends[0] + 1] if ends else outputs

    def judged(self, said: dict[str, Any], right: Tensor | None, taught: Tensor | None) -> dict[str, Any]:
        """See `Answers`; positions that are not scored are None, and any token is correct there.

        Answers that are fed back begin at their first scored token, and have no positions that are not scored.
        """
        if self.fed_back:
            right, taught = (None if one is None else one[one != NOT_SCORED] for one in (right, taught))
        found = super().judged(said, right, taught)
        if right is not None and self.fed_back:
            found["correct"] = said["answer"][: len(right)] == found["right_answer"]
        elif right is not None:
            pairs = zip(said["answer"], found["right_answer"], strict=True)
            found["correct"] = all(wanted in (None, token) for token, wanted in pairs)
        return found


def _mean_of_tokens(function: OfPoints, outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean [E, B] over scored tokens of a function of tokens; outputs [E, B, T, C], targets [E, B, T]."""
    scored = targets != NOT_SCORED
    values = function(outputs.flatten(1, 2), targets.masked_fill(~scored, 0).flatten(1, 2)).view_as(targets)
    values = values if values.is_floating_point() else values.double()
    return values.where(scored, 0).sum(-1) / scored.sum(-1)
