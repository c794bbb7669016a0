"""Share of points that are answered correctly."""

from dataclasses import dataclass

from torch import Tensor

from grokplane.metrics.metric import LoggedAlways
from grokplane.metrics.observation import Observation
from grokplane.metrics.reduce import masked_fraction


@dataclass(frozen=True)
class Accuracy(LoggedAlways):
    """`Acc/{train,test,unseen}`: share of points whose largest output is the label's; the first of equal ones counts.

    `unseen`: of the held-out questions without a mirror in training, where the task has mirrored ones; NaN of none.
    In regression: whose squared error, the mean over outputs, is below the task's tolerance.
    """

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Accuracy [E] in 0..1 by split."""
        return {f"Acc/{split}": masked_fraction(subset.correct, subset) for split, subset in seen.scored.items()}


GROUP = "metrics"
CHOICES = {"accuracy": Accuracy}
