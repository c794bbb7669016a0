"""StableMax cross-entropy: Prieto et al. 2025, "Grokking at the Edge of Numerical Stability" (arXiv 2501.04697)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.answers import Reads
from grokplane.options import checked, option


@dataclass(frozen=True)
@checked
class StableMax:
    """Cross-entropy in nats with exp in the softmax replaced by s(z) = z + 1 (z >= 0), 1/(1 - z) (z < 0)."""

    reads: ClassVar[Reads] = "labels"

    dtype: str = option("same", "precision of the loss; same as the network, or float64", choices=["same", "float64"])

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """-log(s(z_y) / sum_j s(z_j)) for each point: outputs [E, B, C], labels [E, B] -> [E, B]."""
        outputs = outputs.double() if self.dtype == "float64" else outputs
        log_s = _log_s(outputs)
        chosen = log_s.gather(-1, labels[..., None]).squeeze(-1)
        return log_s.logsumexp(-1) - chosen

    def probabilities(self, outputs: Tensor) -> Tensor:
        """s(z_k) / sum_j s(z_j) in float64: outputs [..., C] -> [..., C]."""
        return _log_s(outputs.double()).softmax(-1)


def _log_s(outputs: Tensor) -> Tensor:
    # Clamp, so that both branches are finite everywhere and the gradient of the unused one is not NaN.
    return torch.where(outputs >= 0, torch.log1p(outputs.clamp(min=0)), -torch.log1p(-outputs.clamp(max=0)))


GROUP = "loss"
CHOICES = {"stablemax": StableMax}
