"""Share of correctly answered points."""

from dataclasses import dataclass

from torch import Tensor

from grokplane.metrics.metric import LoggedAlways
from grokplane.metrics.observation import Observation
from grokplane.metrics.reduce import masked_fraction

# The points that are also scored against the answers without label noise, and what the names of these scores end with.
NOISY = ("train", "train/corrupted")
TRUE = "_true"


@dataclass(frozen=True)
class Accuracy(LoggedAlways):
    """`Acc/{train,test,ood}` and `Acc/<group>`: share of points that are answered correctly.

    Class labels: the label has the largest output; ties use the first output. Numbers: the mean squared error over
    outputs is below the tolerance of the task. Sequences: all scored tokens have the largest output;
    `Acc_token/...` is the mean over points of the share of scored tokens for which this holds. NaN for a group
    without points.

    With label noise the training targets of corrupted points are wrong answers. `Acc_true/train` and
    `Acc_true/train/corrupted` score the same points against the answers without noise.
    """

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Accuracy [E] in 0..1 by split and group."""
        found = {
            f"{score}/{name}": masked_fraction(values, subset)
            for name, subset in seen.scored.items()
            for score, values in subset.scores.items()
        }
        noisy = {name: seen.scored[name] for name in NOISY if seen.train.true_targets is not None}
        return found | {
            f"{score}{TRUE}/{name}": masked_fraction(values, subset)
            for name, subset in noisy.items()
            for score, values in subset.true_scores.items()
        }


def of_truth(name: str) -> bool:
    """Whether a value's name is that of an accuracy against the answers without label noise."""
    score, _, subset = name.partition("/")
    return score.startswith("Acc") and score.endswith(TRUE) and subset in NOISY


GROUP = "metrics"
CHOICES = {"accuracy": Accuracy}
