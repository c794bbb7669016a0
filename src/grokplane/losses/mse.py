"""Squared error against the one-hot code of the label, or against the numbers that are the answer."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from grokplane.derivatives import transformed
from grokplane.options import checked, option


@dataclass(frozen=True)
@checked
class MSE:
    """Mean squared error of the outputs against one-hot labels, or in regression against the targets themselves."""

    dtype: str = option("same", "precision of the loss: that of the network, or float64", choices=["same", "float64"])

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over outputs for each point (torch.nn.MSELoss's mean, Omnigrok's loss).

        Outputs [E, B, C] and labels [E, B] int64 or numbers [E, B, C] -> [E, B].
        """
        outputs = outputs.double() if self.dtype == "float64" else outputs
        wanted = targets.to(outputs) if targets.is_floating_point() else _one_hot(targets, outputs)
        return F.mse_loss(outputs, wanted, reduction="none").mean(-1)


def _one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """Not F.one_hot, which gives int64 and asks for the least and the largest label first."""
    zeros, label = labels.new_zeros(like.shape, dtype=like.dtype), labels[..., None]
    return zeros.scatter(-1, label, 1) if transformed() else zeros.scatter_(-1, label, 1)


GROUP = "loss"
CHOICES = {"mse": MSE}
