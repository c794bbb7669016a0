"""Share of points whose softmax has collapsed: the probability of the label rounds to exactly 1."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from grokplane.answers import Reads
from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation
from grokplane.metrics.reduce import masked_fraction


@dataclass(frozen=True)
class SoftmaxCollapse(Metric):
    """`softmax_collapse_{train,eval,ood}`: share of points whose label's probability a naive softmax rounds to 1.

    Such a point has zero loss and zero gradient (Prieto et al. 2025, "Grokking at the edge of numerical stability").
    """

    reads: ClassVar[Reads] = "labels"

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Share [E] in 0..1 by subset."""
        return {
            f"softmax_collapse_{name}": masked_fraction(
                subset.points(subset.answers.of_points(_collapsed), subset.real_targets), subset
            )
            for name, subset in seen.subsets.items()
        }


def _collapsed(outputs: Tensor, wanted: Tensor) -> Tensor:
    """Mask [E, b] of points with sum_j exp(z_j - z_y) == 1 in the dtype of the outputs z; False if z has NaN."""
    label_output = outputs.gather(2, wanted.unsqueeze(2))
    return (outputs - label_output).exp().sum(2) == 1


GROUP = "metrics"
CHOICES = {"softmax_collapse": SoftmaxCollapse}
