"""Histograms of the weights of every layer, with the same bins at all steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.metrics.metric import Array, Metric
from grokplane.metrics.observation import Observation
from grokplane.options import checked, option


@dataclass(frozen=True)
@checked
class WeightHistograms(Metric):
    """`weight_counts/<layer>`: number of weights, without biases, in each of `weight_edges`.

    Bins are equal in asinh(w / linear): of nearly equal width for |w| below `linear`, of nearly equal ratio above it.
    The figure `weight_histograms` shows them.
    """

    bins: int = option(50, "number of bins", at_least=2)
    linear: float = option(0.01, "absolute weight below which bins are of nearly equal width", above=0)
    limit: float = option(10.0, "end of the bins; larger weights are counted in the first and last bin", above=0)

    def __call__(self, seen: Observation) -> dict[str, Array]:
        """Counts [E, bins] int32 by layer, of finite weights, and the edges [E, bins + 1] float32."""
        reach = math.asinh(self.limit / self.linear)
        edges = self.linear * torch.linspace(-reach, reach, self.bins + 1, dtype=torch.float64).sinh()
        found: dict[str, Array] = {}
        for layer, roles in seen.parameters.items():
            weights = [value.flatten(1) for role, value in roles.items() if role.startswith("weight")]
            if weights:
                of_all = torch.cat(weights, 1)
                found[f"weight_counts/{layer}"] = Array(histogram(of_all, edges.to(of_all)))
                found["weight_edges"] = Array(edges.to(of_all.device).float().expand(len(of_all), -1))
        return found


def histogram(values: Tensor, edges: Tensor) -> Tensor:
    """Number of finite values [E, N] in each bin [E, bins] int32; a bin has its lower edge.

    Args:
        values: values beyond the edges are counted in the first and last bin.
        edges: ascending [bins + 1], of the dtype of the values.
    """
    finite = values.isfinite()
    places = torch.bucketize(torch.where(finite, values, edges[0]), edges[1:-1], right=True)
    counts = torch.zeros(len(values), len(edges) - 1, dtype=torch.int32, device=values.device)
    return counts.scatter_add_(1, places, finite.int())


GROUP = "metrics"
CHOICES = {"weight_histograms": WeightHistograms}
