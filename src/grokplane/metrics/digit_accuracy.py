"""Accuracy of each token of an answer."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.answers import NOT_SCORED, Reads, right
from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation, Subset


@dataclass(frozen=True)
class DigitAccuracy(Metric):
    """`Acc_position_<k>/{train,test}`: share of points whose k-th scored token is right, of those that have one.

    Tokens count from the first scored one, 1, and include the end of the answer. The tokens before it are right ones
    where answers are fed back (teacher forcing). A subset in which no answer is so long has no value.
    """

    reads: ClassVar[Reads] = "sequences"
    absent_if_nan: ClassVar[bool] = True

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Accuracies [E] in 0..1 by token and split; NaN without such tokens."""
        return {
            f"Acc_position_{number}/{split}": share
            for split, subset in seen.splits.items()
            for number, share in enumerate(_shares(subset).unbind(1), start=1)
        }


def _shares(subset: Subset) -> Tensor:
    """The share of right tokens [E, T] by the token's number in the answer."""
    scored = (subset.targets != NOT_SCORED) & subset.mask[..., None]
    hits = subset.points(right, subset.targets)
    number = scored.cumsum(2).masked_fill(~scored, 0)[..., None]
    which = number == torch.arange(1, number.shape[2] + 1, device=number.device)
    return (which & hits[..., None]).sum((1, 2)).double() / which.sum((1, 2))


GROUP = "metrics"
CHOICES = {"digit_accuracy": DigitAccuracy}
