"""Squared error for numeric targets and signs, or for the one-hot codes of labels."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from grokplane.answers import Reads
from grokplane.options import checked, option


@dataclass(frozen=True)
@checked
class MSE:
    """Mean squared error of the outputs, for one-hot labels or, in regression and for signs, the targets themselves."""

    reads: ClassVar[Reads] = "vectors"

    dtype: str = option("same", "precision of the loss; same as the network, or float64", choices=["same", "float64"])

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over outputs for each point, as in torch.nn.MSELoss and in Omnigrok.

        Outputs [E, B, C] and numbers or one-hot codes [E, B, C] -> [E, B].
        """
        outputs = outputs.double() if self.dtype == "float64" else outputs
        return F.mse_loss(outputs, targets.to(outputs), reduction="none").mean(-1)


GROUP = "loss"
CHOICES = {"mse": MSE}
