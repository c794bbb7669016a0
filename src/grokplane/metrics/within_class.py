"""Within-class variability of each layer (neural collapse)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.answers import Reads
from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation
from grokplane.metrics.positions import at_question
from grokplane.metrics.subset import Subset, parts


@dataclass(frozen=True)
class WithinClass(Metric):
    """`NC1_{train,eval}/<layer>`: variance within classes divided by variance between classes, tr(S_W) / tr(S_B).

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


def _class_means(values: Tensor, subset: Subset) -> Tensor:
    """Class means [E, C, F] of values [E, n, F] over unpadded points; zero for an empty class."""
    real, (wanted, classes) = subset.mask.to(values.dtype), subset.classes
    members, points = wanted.shape
    count = values.new_zeros(members, classes).scatter_add_(1, wanted, real).clamp_min_(1)
    means = values.new_zeros(members, classes, values.shape[-1])
    for part in parts(points, members * classes * values.element_size()):
        member = values.new_zeros(members, wanted[:, part].shape[1], classes)
        member.scatter_(2, wanted[:, part, None], real[:, part, None])
        means.baddbmm_((member / count[:, None]).mT, values[:, part])
    return means


def _ratio(values: Tensor, subset: Subset) -> Tensor:
    """tr(S_W) / tr(S_B) [E] of values [E, n, F], from differences to the means, because large squares would cancel."""
    values = torch.where(subset.mask[..., None], values, 0)
    values = values - (values * subset.weights[..., None].to(values.dtype)).sum(1, keepdim=True)
    means = _class_means(values, subset)
    own = means.gather(1, subset.classes.labels[..., None].expand(-1, -1, values.shape[-1]))
    within = torch.linalg.vector_norm(values - own, dim=2).double().square()
    between = torch.linalg.vector_norm(own, dim=2).double().square()
    return subset.mean(within) / subset.mean(between)


GROUP = "metrics"
CHOICES = {"within_class": WithinClass}
