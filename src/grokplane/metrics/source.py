"""The source of a subset: its inputs, and further forward passes of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from grokplane.metrics.layer_output import LayerOutput

Parameters = Mapping[str, Tensor]


class Run(Protocol):
    """A forward pass on some points of a subset, in evaluation mode, with the noise of the log point."""

    def __call__(
        self,
        part: slice,
        parameters: Parameters,
        inputs: Tensor | None = None,
        inner: dict[str, Tensor] | None = None,
        layers: dict[str, LayerOutput] | None = None,
    ) -> Tensor:
        """Outputs [E, b, C]. They are differentiable if a given parameter or the given inputs require gradients.

        Args:
            part: points of the subset.
            parameters: parameters by full name that replace those of the network; may be empty.
            inputs: inputs [E, b, ...] that replace those of the points.
            inner: dict that receives the tensors inside layers by name.
            layers: dict that receives the layers by name, detached; not together with `inner`.
        """
        ...


@dataclass(frozen=True, eq=False)
class Source:
    """Functions of a subset beyond the values of the log point.

    Attributes:
        inputs: returns the inputs of a part of the points [E, b, ...].
        rows: row of each point in the table of its member [E, n] int64, including padding.
        run: a further forward pass.
        losses: training loss per point [E, b] from outputs [E, b, C] and targets [E, b, ...].
        slices: returns parts of the subset, each small enough for a forward and a backward pass.
    """

    inputs: Callable[[slice], Tensor]
    rows: Tensor
    run: Run
    losses: Callable[[Tensor, Tensor], Tensor]
    slices: Callable[[], Sequence[slice]]
