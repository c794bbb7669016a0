"""Alignment of each layer with the labels."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from grokplane.answers import Reads
from grokplane.mechanism.kernels import alignment, feature_kernel, label_kernel
from grokplane.metrics.chosen import chosen
from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation
from grokplane.metrics.positions import at_question
from grokplane.options import checked, option


@dataclass(frozen=True)
@checked
class CKA(Metric):
    """`cka_label_{train,eval,ood}/<layer>`: linear CKA of a layer's activations and the one-hot labels.

    CKA is the cosine of the two centred kernels of the points (Cortes, Mohri and Rostamizadeh 2012; Kornblith et al.
    2019). Activations are those before noise, and where the first token is read if answers are fed back.
    """

    reads: ClassVar[Reads] = "labels"
    needs_layers: ClassVar[bool] = True

    points: int = option(500, "the largest number of points of a subset, drawn at random", at_least=2)
    seed: int = option(0, "seed of the drawn points", at_least=0)

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """CKA [E] in 0..1 by subset and layer; not finite (null) if the activations of all points are equal."""
        found = {}
        for name, subset in seen.subsets.items():
            some = chosen(subset, self.points, self.seed)
            labels = label_kernel(some.of(subset.classes.labels), some.mask, subset.losses.dtype)
            for layer, output in subset.layers.items():
                features = some.of(at_question(output.activations, subset)).flatten(2)
                found[f"cka_label_{name}/{layer}"] = alignment(feature_kernel(features, some.mask), labels)
        return found


GROUP = "metrics"
CHOICES = {"cka": CKA}
