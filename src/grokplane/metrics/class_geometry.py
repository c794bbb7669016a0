"""Distances between and within classes, and the simplex of class means (neural collapse, NC2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.answers import Reads
from grokplane.mechanism.centring import centred
from grokplane.mechanism.class_geometry import angles, from_their_centre, mean_distance, norm_variation
from grokplane.metrics.class_means import class_means, occupied, own_means
from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation
from grokplane.metrics.positions import at_question
from grokplane.metrics.subset import Subset


@dataclass(frozen=True)
class ClassGeometry(Metric):
    """`ILDR_{train,eval,ood}/<layer>` and `NC2_{norms,angles,simplex}_{train,eval,ood}/<layer>`.

    h are the activations before noise, m_y the mean of the points with label y; classes without points do not count.

    - `ILDR`, the inter/intra-class distance ratio: the mean distance between two distinct class means, divided by the
      mean distance of a point to the mean of its class.
    - `NC2_norms`: standard deviation over mean of norm(m_y - m), with m the mean of the class means.
    - `NC2_angles`: standard deviation of the cosines between m_y - m and m_z - m over all pairs of classes.
    - `NC2_simplex`: mean absolute difference of these cosines to -1 / (C - 1), for C classes.

    ILDR follows arXiv 2604.20923, NC2 Papyan, Han and Donoho 2020. If answers are fed back, h are the activations where
    the first token is read.
    """

    reads: ClassVar[Reads] = "labels"
    needs_layers: ClassVar[bool] = True

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Values [E] in float64 by subset and layer; NaN (null) with fewer than two classes or equal points."""
        return {
            f"{measure}_{name}/{layer}": value
            for name, subset in seen.subsets.items()
            for layer, output in subset.layers.items()
            for measure, value in _values(at_question(output.activations, subset).flatten(2), subset).items()
        }


def _values(values: Tensor, subset: Subset) -> dict[str, Tensor]:
    """The four measures [E] of values [E, n, F]."""
    values = centred(values, subset.mask).values
    means, present = class_means(values, subset), occupied(subset)
    scatter = subset.mean(torch.linalg.vector_norm(values - own_means(means, subset.classes.labels), dim=2))
    around = from_their_centre(means, present)
    spread, to_simplex = angles(around, present)
    return {
        "ILDR": mean_distance(means, present) / scatter,
        "NC2_norms": norm_variation(around, present),
        "NC2_angles": spread,
        "NC2_simplex": to_simplex,
    }


GROUP = "metrics"
CHOICES = {"class_geometry": ClassGeometry}
