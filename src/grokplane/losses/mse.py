"""Squared error against the one-hot code of the label."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from grokplane.options import option


@dataclass(frozen=True)
class MSE:
    """Mean squared error of the outputs against one-hot labels."""

    dtype: str = option("same", "precision of the loss: that of the network, or float64", choices=["same", "float64"])

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Mean over classes for each point (torch.nn.MSELoss's mean, Omnigrok's loss): [E, B, C], [E, B] -> [E, B]."""
        outputs = outputs.double() if self.dtype == "float64" else outputs
        return (outputs - F.one_hot(labels, outputs.shape[-1])).square().mean(-1)


GROUP = "loss"
CHOICES = {"mse": MSE}
