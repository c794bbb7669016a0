"""Squared error for one-hot labels or numeric targets."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from grokplane.derivatives import transformed
from grokplane.options import checked, option


@dataclass(frozen=True)
@checked
class MSE:
    """Mean squared error of the outputs, for one-hot labels or, in regression, for the targets themselves."""

    dtype: str = option("same", "precision of the loss; same as the network, or float64", choices=["same", "float64"])

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over outputs for each point, as in torch.nn.MSELoss and in Omnigrok.

        Outputs [E, B, C] and int64 labels [E, B] or numbers [E, B, C] -> [E, B].
        """
        outputs = outputs.double() if self.dtype == "float64" else outputs
        wanted = targets.to(outputs) if targets.is_floating_point() else _one_hot(targets, outputs)
        return F.mse_loss(outputs, wanted, reduction="none").mean(-1)


def _one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """One-hot labels in the dtype of `like`; F.one_hot returns int64 and computes the range of the labels first."""
    zeros, label = labels.new_zeros(like.shape, dtype=like.dtype), labels[..., None]
    return zeros.scatter(-1, label, 1) if transformed() else zeros.scatter_(-1, label, 1)


GROUP = "loss"
CHOICES = {"mse": MSE}
