"""Share of correctly answered points."""

from dataclasses import dataclass

from torch import Tensor

from grokplane.metrics.observation import Observation
from grokplane.metrics.reduce import masked_fraction


@dataclass(frozen=True)
class Accuracy:
    """`Acc/{train,test,unseen}`: share of points whose largest output is that of the label; ties use the first output.

    `unseen`: held-out questions without a mirror in training, if the task has mirrored questions; NaN if there are
    none. In regression, a point is correct if its mean squared error over outputs is below the tolerance of the task.
    """

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Accuracy [E] in 0..1 by split."""
        return {f"Acc/{split}": masked_fraction(subset.correct, subset) for split, subset in seen.scored.items()}


GROUP = "metrics"
CHOICES = {"accuracy": Accuracy}
