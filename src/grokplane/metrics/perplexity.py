"""Perplexity of the labels under the softmax of the outputs."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation, Subset
from grokplane.metrics.reduce import labels


@dataclass(frozen=True)
class Perplexity(Metric):
    """`Perplexity/{train,test}`: exp of the mean cross-entropy, whatever loss is trained; 1 is perfect, C uniform."""

    needs_labels: ClassVar[bool] = True

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Perplexity [E], at least 1, by split."""
        return {f"Perplexity/{split}": _cross_entropy(subset).exp() for split, subset in seen.splits.items()}


def _cross_entropy(subset: Subset) -> Tensor:
    """Mean cross-entropy [E] in nats, in float64."""
    return subset.mean(subset.points(_of_points, labels(subset)))


def _of_points(outputs: Tensor, wanted: Tensor) -> Tensor:
    points = F.cross_entropy(outputs.double().flatten(0, 1), wanted.flatten(), reduction="none")
    return points.view_as(wanted)


GROUP = "metrics"
CHOICES = {"perplexity": Perplexity}
