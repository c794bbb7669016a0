"""Number and share of weights near zero."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation
from grokplane.metrics.reduce import flat
from grokplane.options import checked, option


@dataclass(frozen=True)
@checked
class Sparsity(Metric):
    """`sparsity/<layer>`: share of weights and biases below a threshold; `active_weights/<layer>`: number of others."""

    threshold: float = option(0.01, "a weight or bias with a smaller absolute value counts as zero", above=0)

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Shares and counts [E] by layer, and over all layers as `total`."""
        small = {layer: self._small(roles.values()) for layer, roles in seen.parameters.items()}
        sizes = {layer: _size(roles.values()) for layer, roles in seen.parameters.items()}
        small["total"], sizes["total"] = torch.stack(list(small.values())).sum(0), sum(sizes.values())
        shares = {f"sparsity/{name}": small[name] / sizes[name] for name in small}
        return {**shares, **{f"active_weights/{name}": sizes[name] - small[name] for name in small}}

    def _small(self, tensors: Iterable[Tensor]) -> Tensor:
        """Number [E] in float64 of entries of tensors [E, ...] below the threshold; NaN does not count."""
        return torch.stack([(flat(tensor).abs() < self.threshold).sum(1) for tensor in tensors]).sum(0).double()


def _size(tensors: Iterable[Tensor]) -> int:
    """Number of entries per member of tensors [E, ...]."""
    return sum(flat(tensor).shape[1] for tensor in tensors)


GROUP = "metrics"
CHOICES = {"sparsity": Sparsity}
