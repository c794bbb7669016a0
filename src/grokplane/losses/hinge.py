"""Hinge loss: of signs, and of class labels as in Crammer and Singer 2001, "On the Algorithmic Implementation of
Multiclass Kernel-based Vector Machines" (JMLR 2).
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from grokplane.answers import Reads
from grokplane.options import checked, option


@dataclass(frozen=True)
@checked
class Hinge:
    """Hinge loss: max(0, 1 - margin). Signs y have the margin y f, class labels f_y - max_{j != y} f_j."""

    reads: ClassVar[Reads] = "classes"

    dtype: str = option("same", "precision of the loss; same as the network, or float64", choices=["same", "float64"])

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of each point [E, B]: outputs [E, B, C] and labels [E, B], or one output and signs, both [E, B, 1].

        The derivative is 0 at a margin of exactly 1. Of several largest wrong outputs only one has a derivative.
        """
        outputs = outputs.double() if self.dtype == "float64" else outputs
        signs = targets.dim() == outputs.dim()
        margin = (outputs * targets).squeeze(-1) if signs else _margin(outputs, targets[..., None])
        return (1 - margin).relu()


def _margin(outputs: Tensor, label: Tensor) -> Tensor:
    """The output of the label [..., 1] minus the largest other one; infinite if there is no other."""
    others = outputs.scatter(-1, label, float("-inf"))
    return outputs.gather(-1, label).squeeze(-1) - others.max(-1).values


GROUP = "loss"
CHOICES = {"hinge": Hinge}
