"""AdamW: Loshchilov and Hutter 2019, decoupled weight decay."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from grokplane.optim.torch_optimizer import TorchOptimizer
from grokplane.options import checked, option


@dataclass(frozen=True)
@checked
class AdamW(TorchOptimizer):
    """torch.optim.AdamW for each member."""

    algorithm: ClassVar = torch.optim.AdamW
    fixed: ClassVar[dict[str, Any]] = {"fused": True}
    kernel: ClassVar = staticmethod(torch._fused_adamw_)  # pyright: ignore[reportPrivateImportUsage]
    decoupled: ClassVar = True

    lr: float = option(1e-3, "learning rate", at_least=0, stackable=True)
    weight_decay: float = option(1.0, "decoupled weight decay, times lr at each step", at_least=0, stackable=True)
    betas: list[float] = option([0.9, 0.999], "decay of the two moments", at_least=0, below=1, length=2)
    eps: float = option(1e-8, "added to the denominator", above=0)


GROUP = "optimizer"
CHOICES = {"adamw": AdamW}
