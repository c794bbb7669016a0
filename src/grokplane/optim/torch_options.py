"""A torch.optim class and the options of its parameter groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch

Kernel = Callable[..., Any]


@dataclass(frozen=True)
class TorchOptions:
    """A torch.optim class and its options. The dataclass fields of a subclass are the names of the options."""

    algorithm: ClassVar[type[torch.optim.Optimizer]]
    fixed: ClassVar[dict[str, Any]] = {}
    """Options that the user cannot change."""
    kernel: ClassVar[Kernel | None] = None
    """The fused kernel of the algorithm if it has the signature of Adam's kernel; see `TorchGroups`."""
    decoupled: ClassVar[bool] = False
    """True: weight decay multiplies the weights by 1 - lr * weight_decay. False: weight decay adds to the gradient."""

    @property
    def options(self) -> dict[str, Any]:
        """The options of a parameter group."""
        return {spec.name: getattr(self, spec.name) for spec in fields(self)}
