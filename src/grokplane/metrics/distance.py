"""Distance and cosine of the weights to the initial weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation
from grokplane.metrics.reduce import flat, l2_norm


@dataclass(frozen=True)
class Distance(Metric):
    """`weight_distance/<layer>`, `weight_cosine/<layer>`, and `.../global` of all parameters.

    With w the weight and bias of a layer and w_0 their initial values: norm(w - w_0), and w w_0 / (norm(w) norm(w_0)).
    The initial weights of a run with `train.start_from` are those that it starts from.
    """

    needs_initial: ClassVar[bool] = True

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Distances and cosines [E] in float64; a cosine is NaN (null) if a vector is all zero."""
        pairs = {
            layer: (list(roles.values()), list(seen.initial_layers[layer].values()))
            for layer, roles in seen.parameters.items()
        }
        pairs["global"] = list(seen.all_parameters.values()), [seen.initial[name] for name in seen.all_parameters]
        return {
            f"{measure}/{name}": value
            for name, (now, before) in pairs.items()
            for measure, value in (
                ("weight_distance", _distance(now, before)),
                ("weight_cosine", _cosine(now, before)),
            )
        }


def _distance(now: Sequence[Tensor], before: Sequence[Tensor]) -> Tensor:
    """Distance [E] of two lists of tensors [E, ...]."""
    return l2_norm(one.double() - other.double() for one, other in zip(now, before, strict=True))


def _cosine(now: Sequence[Tensor], before: Sequence[Tensor]) -> Tensor:
    """Cosine [E] of two lists of tensors [E, ...]."""
    norms = [l2_norm(one.double() for one in tensors) for tensors in (now, before)]
    products = [(flat(one).double() * flat(other)).sum(1) for one, other in zip(now, before, strict=True)]
    return torch.stack(products, 1).sum(1) / (norms[0] * norms[1])


GROUP = "metrics"
CHOICES = {"distance": Distance}
