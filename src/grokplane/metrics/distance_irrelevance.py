"""Distance irrelevance: how little the logit of the right answer depends on the difference of the operands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from grokplane.answers import Reads
from grokplane.mechanism.cayley import quotients
from grokplane.mechanism.clock import distance_irrelevance
from grokplane.metrics.elements import elements, of_operands
from grokplane.metrics.embedding import two_operands
from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation
from grokplane.metrics.padded import stacked
from grokplane.metrics.subset import Subset


@dataclass(frozen=True)
class DistanceIrrelevance(Metric):
    """`distance_irrelevance`: (mean over d of the deviation of L_ab over the pairs with a∘b^-1 = d) / deviation of L.

    L_ab is the logit of the right answer of the question (a, b), over all questions of all subsets whose operands are
    elements of the group. 0 if L_ab depends on the difference d alone; near 1 if it does not depend on d. Zhong et al.
    2023, "The clock and the pizza", arXiv 2306.17844, find 0.17 for pizzas and 0.85 for clocks.
    """

    reads: ClassVar[Reads] = "labels"
    needs_group: ClassVar[bool] = True

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Values [E] in float64; NaN (null) if all logits are equal.

        Raises:
            ConfigError: questions have more than two operands.
        """
        operands, groups = two_operands(seen, "distance_irrelevance")
        logits = seen.over_table(_right_logits)
        asked = seen.over_table(lambda subset: subset.mask.long()) > 0
        a, b = of_operands(elements(seen).of_token, operands).unbind(2)
        known = asked & (a >= 0) & (b >= 0)
        table = stacked([quotients(group.products) for group in groups], 0, operands.device)
        places = a.clamp_min(0) * table.shape[2] + b.clamp_min(0)
        differences = table.flatten(1).gather(1, places)
        return {"distance_irrelevance": distance_irrelevance(logits, differences, known, table.shape[1])}


def _right_logits(subset: Subset) -> Tensor:
    """The output of the right answer of each point [E, n], without label noise."""
    right = subset.targets if subset.true_targets is None else subset.true_targets
    return subset.outputs.gather(2, right.masked_fill(~subset.mask, 0)[..., None]).squeeze(2)


GROUP = "metrics"
CHOICES = {"distance_irrelevance": DistanceIrrelevance}
