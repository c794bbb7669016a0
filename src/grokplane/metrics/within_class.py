"""Within-class variability of each layer (neural collapse)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.answers import Reads
from grokplane.metrics.class_means import class_means, own_means
from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation
from grokplane.metrics.positions import at_question
from grokplane.metrics.subset import Subset


@dataclass(frozen=True)
class WithinClass(Metric):
    """`NC1_{train,eval,ood}/<layer>`: variance within classes divided by variance between classes, tr(S_W) / tr(S_B).

    S_W is the mean over points of (h - m_y)(h - m_y)' and S_B the mean of (m_y - m)(m_y - m)', where h are the
    activations before noise, m_y is the mean over the points with label y, and m is the mean over all points. The value
    is 0 if every class is a single point. If answers are fed back, h are the activations where the first token is read.
    This is the first measure of neural collapse (Papyan, Han and Donoho 2020) in the form of Tirer, Huang and
    Niles-Weed 2023.
    """

    reads: ClassVar[Reads] = "labels"
    needs_layers: ClassVar[bool] = True

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Ratios [E] in float64 by subset and layer; not finite (null) if the class means coincide."""
        found = {}
        for name, subset in seen.subsets.items():
            for layer, output in subset.layers.items():
                found[f"NC1_{name}/{layer}"] = _ratio(at_question(output.activations, subset).flatten(2), subset)
        return found


def _ratio(values: Tensor, subset: Subset) -> Tensor:
    """tr(S_W) / tr(S_B) [E] of values [E, n, F], from differences to the means, because large squares would cancel."""
    values = torch.where(subset.mask[..., None], values, 0)
    values = values - (values * subset.weights[..., None].to(values.dtype)).sum(1, keepdim=True)
    means = class_means(values, subset)
    own = own_means(means, subset.classes.labels)
    within = torch.linalg.vector_norm(values - own, dim=2).double().square()
    between = torch.linalg.vector_norm(own, dim=2).double().square()
    return subset.mean(within) / subset.mean(between)


GROUP = "metrics"
CHOICES = {"within_class": WithinClass}
