"""Ranks, entropy and norm of the spectra of weights and features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from grokplane.mechanism.centring import centred
from grokplane.mechanism.dimension import MEASURES, squared_singular_values
from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation
from grokplane.metrics.positions import at_question


@dataclass(frozen=True)
class Ranks(Metric):
    """`effective_rank`, `stable_rank`, `participation_ratio`, `spectral_entropy`, `spectral_norm`.

    `<measure>_<role>/<layer>` is that of every weight matrix, `<measure>_{train,eval,ood}/<layer>` that of the features
    of a layer: the matrix of its activations before noise, points by units, less their mean over the points.
    """

    needs_layers: ClassVar[bool] = True

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Values [E] in float64; NaN (null) for a matrix of zeros, and with values that are not finite."""
        return {
            f"{measure}_{name}": function(squares)
            for name, squares in (*_of_weights(seen), *_of_features(seen))
            for measure, function in MEASURES.items()
        }


def _of_weights(seen: Observation) -> Iterator[tuple[str, Tensor]]:
    """Squared singular values by `<role>/<layer>`; kernels are flattened to [E, out, in]."""
    for layer, roles in seen.parameters.items():
        for role, weights in roles.items():
            if weights.dim() > 2:
                yield f"{role}/{layer}", squared_singular_values(weights.flatten(2))


def _of_features(seen: Observation) -> Iterator[tuple[str, Tensor]]:
    """Squared singular values by `<subset>/<layer>`."""
    for name, subset in seen.subsets.items():
        for layer, output in subset.layers.items():
            features = at_question(output.activations, subset).flatten(2)
            yield f"{name}/{layer}", squared_singular_values(centred(features, subset.mask).values)


GROUP = "metrics"
CHOICES = {"ranks": Ranks}
