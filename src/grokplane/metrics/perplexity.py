"""Perplexity of the labels under the softmax of the outputs."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from grokplane.answers import Reads
from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation, Subset


@dataclass(frozen=True)
class Perplexity(Metric):
    """`Perplexity/{train,test,ood}`: exp of the mean cross-entropy, for any training loss; C for uniform outputs."""

    reads: ClassVar[Reads] = "labels"

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Perplexity [E], at least 1, by split."""
        return {f"Perplexity/{split}": _cross_entropy(subset).exp() for split, subset in seen.splits.items()}


def _cross_entropy(subset: Subset) -> Tensor:
    """Mean cross-entropy [E] in nats, in float64."""
    return subset.mean(subset.points(subset.answers.of_points(_of_tokens), subset.real_targets))


def _of_tokens(outputs: Tensor, wanted: Tensor) -> Tensor:
    points = F.cross_entropy(outputs.double().flatten(0, 1), wanted.flatten(), reduction="none")
    return points.view_as(wanted)


GROUP = "metrics"
CHOICES = {"perplexity": Perplexity}
