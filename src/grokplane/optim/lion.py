"""Lion: Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms" (arXiv 2302.06675), algorithm 2."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from grokplane.optim.torch_optimizer import TorchOptimizer
from grokplane.options import checked, option


class _Lion(torch.optim.Optimizer):
    """w <- w - lr (sign(beta1 m + (1 - beta1) g) + weight_decay w), then m <- beta2 m + (1 - beta2) g."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "betas": betas})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002 (torch's signature)
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            lr, decay, (beta1, beta2) = group["lr"], group["weight_decay"], group["betas"]
            for parameter in group["params"]:
                if parameter.grad is not None:
                    momentum: Tensor = self._momentum(parameter)
                    direction = momentum.lerp(parameter.grad, 1 - beta1).sign_()
                    parameter.mul_(1 - lr * decay).add_(direction.mul_(lr), alpha=-1)
                    momentum.lerp_(parameter.grad, 1 - beta2)

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "exp_avg" not in state:
            state["exp_avg"] = torch.zeros_like(parameter)
        return state["exp_avg"]


@dataclass(frozen=True)
@checked
class Lion(TorchOptimizer):
    """Lion for each member: the sign of an interpolated momentum, with decoupled weight decay."""

    algorithm: ClassVar = _Lion
    decoupled: ClassVar = True

    lr: float = option(1e-4, "learning rate, 3 to 10 times smaller than AdamW's", at_least=0, stackable=True)
    weight_decay: float = option(10.0, "decoupled weight decay, times lr at each step", at_least=0, stackable=True)
    betas: list[float] = option(
        [0.9, 0.99], "weight of the momentum in the update, and its decay", at_least=0, below=1, length=2
    )


GROUP = "optimizer"
CHOICES = {"lion": Lion}
