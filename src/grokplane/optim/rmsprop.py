"""RMSprop: Tieleman and Hinton 2012."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from grokplane.optim.torch_optimizer import TorchOptimizer
from grokplane.options import checked, option


@dataclass(frozen=True)
@checked
class RMSprop(TorchOptimizer):
    """torch.optim.RMSprop for each member; weight decay is added to the gradient."""

    algorithm: ClassVar = torch.optim.RMSprop

    lr: float = option(1e-3, "learning rate", at_least=0, stackable=True)
    weight_decay: float = option(0.0, "L2 penalty, added to the gradient", at_least=0, stackable=True)
    alpha: float = option(0.99, "decay of the mean square", at_least=0, below=1)
    eps: float = option(1e-8, "added to the denominator", above=0)
    momentum: float = option(0.0, "decay of the velocity", at_least=0, below=1)


GROUP = "optimizer"
CHOICES = {"rmsprop": RMSprop}
