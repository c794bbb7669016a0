"""Stochastic gradient descent with momentum (Sutskever et al. 2013 for Nesterov's form)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from grokplane.optim.torch_optimizer import TorchOptimizer
from grokplane.options import ConfigError, checked, option
from grokplane.unread import Surroundings


@dataclass(frozen=True)
@checked
class SGD(TorchOptimizer):
    """torch.optim.SGD for each member; weight decay is added to the gradient."""

    algorithm: ClassVar = torch.optim.SGD
    fixed: ClassVar[dict[str, Any]] = {"fused": True}

    lr: float = option(0.1, "learning rate", at_least=0, stackable=True)
    weight_decay: float = option(0.0, "L2 penalty, added to the gradient", at_least=0, stackable=True)
    momentum: float = option(0.0, "decay of the velocity", at_least=0, below=1)
    nesterov: bool = option(False, "Nesterov's momentum")

    def __post_init__(self) -> None:
        if self.nesterov and self.momentum == 0:
            raise ConfigError("optimizer.nesterov", True, "needs optimizer.momentum above 0")

    def unread(self, around: Surroundings) -> dict[str, str]:  # noqa: ARG002 (its own keys decide)
        """See `grokplane.unread`."""
        return {"nesterov": "optimizer.momentum=0 is no momentum"} if self.momentum == 0 else {}


GROUP = "optimizer"
CHOICES = {"sgd": SGD}
