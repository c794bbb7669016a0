"""Share of points that are classified correctly."""

from dataclasses import dataclass

from torch import Tensor

from grokplane.metrics.observation import Observation, Subset
from grokplane.metrics.reduce import masked_fraction


@dataclass(frozen=True)
class Accuracy:
    """`Acc/{train,test}`: share of the subset whose largest output is the label's; the first of equal ones counts."""

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Accuracy [E] in 0..1 by split."""
        return {f"Acc/{split}": masked_fraction(_correct(subset), subset) for split, subset in seen.splits.items()}


def _correct(subset: Subset) -> Tensor:
    """Which points [E, n] are right; a NaN among the outputs is no prediction, though torch calls it the largest."""
    largest, predicted = subset.outputs.max(-1)
    return (predicted == subset.targets) & ~largest.isnan()


GROUP = "metrics"
CHOICES = {"accuracy": Accuracy}
