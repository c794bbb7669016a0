"""What the config's choices of a torch.optim optimizer have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch

from grokplane.optim.base import Parameters, StackedOptimizer
from grokplane.optim.directions import Directions
from grokplane.optim.torch_groups import Kernel, TorchGroups


@dataclass(frozen=True)
class TorchOptimizer:
    """A torch.optim class and its options: the fields are the options' names. Choices of `optimizer` derive from it.

    The update must be proportional to `lr`, as torch.optim's are that remember gradients alone; see `Directions`.
    """

    algorithm: ClassVar[type[torch.optim.Optimizer]]
    fixed: ClassVar[dict[str, Any]] = {}
    kernel: ClassVar[Kernel | None] = None
    """torch's fused kernel of the algorithm, if it is of Adam's form; see `TorchGroups`."""
    decoupled: ClassVar[bool] = False
    """Whether weight decay shrinks the weights, lr times its strength a step; else it adds to the gradient."""

    @property
    def options(self) -> dict[str, Any]:
        """The options of a param group."""
        return {spec.name: getattr(self, spec.name) for spec in fields(self)}

    @classmethod
    def stacked(cls, choices: Sequence[Any], parameters: Parameters, hidden: Sequence[str]) -> StackedOptimizer:  # noqa: ARG003
        """The members' optimizer; see OptimizerChoice. On a CPU kernels cost nothing to start, and memory to run."""
        on_cpu = next(iter(parameters.values())).device.type == "cpu"
        return (TorchGroups if on_cpu else Directions)(choices, parameters)
