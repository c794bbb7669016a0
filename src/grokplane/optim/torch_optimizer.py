"""The base class of the config's choices of a torch.optim optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grokplane.optim.base import NoParameters, Parameters, StackedOptimizer
from grokplane.optim.directions import Directions
from grokplane.optim.torch_groups import TorchGroups
from grokplane.optim.torch_options import TorchOptions


@dataclass(frozen=True)
class TorchOptimizer(TorchOptions):
    """A choice of the config group `optimizer` that runs a torch.optim class.

    The update must be proportional to `lr`. This holds for the optimizers of torch.optim whose state depends on the
    gradients alone; see `Directions`.
    """

    @classmethod
    def stacked(cls, choices: Sequence[Any], parameters: Parameters, hidden: Sequence[str]) -> StackedOptimizer:  # noqa: ARG003
        """The members' optimizer; see `OptimizerChoice`.

        `TorchGroups` launches more kernels and moves less memory than `Directions`, so it is used on the CPU only.
        """
        if not parameters:
            return NoParameters([one.options["lr"] for one in choices])
        on_cpu = next(iter(parameters.values())).device.type == "cpu"
        return (TorchGroups if on_cpu else Directions)(choices, parameters)
