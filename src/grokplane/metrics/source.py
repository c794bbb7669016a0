"""Where a subset comes from: its questions, and further forward passes of the network that answered them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

Parameters = Mapping[str, Tensor]


class Run(Protocol):
    """A forward pass on some points of a subset, in evaluation mode, with the noise of the log point."""

    def __call__(
        self, part: slice, parameters: Parameters, inputs: Tensor | None = None, inner: dict[str, Tensor] | None = None
    ) -> Tensor:
        """Outputs [E, b, C]. They are differentiable if a given parameter or the given inputs require gradients.

        Args:
            part: which points of the subset.
            parameters: by full name, in place of the network's own; may be empty.
            inputs: in place of the points' own [E, b, ...].
            inner: receives the tensors inside layers by name.
        """
        ...


@dataclass(frozen=True, eq=False)
class Source:
    """What a subset can be asked beyond the values of the log point.

    Attributes:
        inputs: gives the questions of some points [E, b, ...].
        rows: the row of each point in its member's table [E, n] int64, padding included.
        run: a further forward pass.
        losses: the training loss of points [E, b] from outputs [E, b, C] and targets [E, b, ...].
        slices: gives parts of the subset, each small enough for a forward and a backward pass.
    """

    inputs: Callable[[slice], Tensor]
    rows: Tensor
    run: Run
    losses: Callable[[Tensor, Tensor], Tensor]
    slices: Callable[[], Sequence[slice]]
