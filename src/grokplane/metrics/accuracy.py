"""Share of correctly answered points."""

from dataclasses import dataclass

from torch import Tensor

from grokplane.metrics.metric import LoggedAlways
from grokplane.metrics.observation import Observation
from grokplane.metrics.reduce import masked_fraction


@dataclass(frozen=True)
class Accuracy(LoggedAlways):
    """`Acc/{train,test,ood}` and `Acc/<group>`: share of points that are answered correctly.

    Class labels: the label has the largest output; ties use the first output. Numbers: the mean squared error over
    outputs is below the tolerance of the task. Sequences: all scored tokens have the largest output;
    `Acc_token/...` is the mean over points of the share of scored tokens for which this holds. NaN for a group
    without points.
    """

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Accuracy [E] in 0..1 by split and group."""
        return {
            f"{score}/{name}": masked_fraction(values, subset)
            for name, subset in seen.scored.items()
            for score, values in subset.scores.items()
        }


GROUP = "metrics"
CHOICES = {"accuracy": Accuracy}
