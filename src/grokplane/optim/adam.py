"""Adam: Kingma and Ba 2015."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from grokplane.optim.torch_optimizer import TorchOptimizer
from grokplane.options import checked, option


@dataclass(frozen=True)
@checked
class Adam(TorchOptimizer):
    """torch.optim.Adam for each member; weight decay is added to the gradient."""

    algorithm: ClassVar = torch.optim.Adam
    fixed: ClassVar[dict[str, Any]] = {"fused": True}
    kernel: ClassVar = staticmethod(torch._fused_adam_)  # pyright: ignore[reportPrivateImportUsage]

    lr: float = option(1e-3, "learning rate", at_least=0, stackable=True)
    weight_decay: float = option(0.0, "L2 penalty, added to the gradient", at_least=0, stackable=True)
    betas: list[float] = option([0.9, 0.999], "decay of the two moments", at_least=0, below=1, length=2)
    eps: float = option(1e-8, "added to the denominator", above=0)


GROUP = "optimizer"
CHOICES = {"adam": Adam}
