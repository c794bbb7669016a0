"""What the loop and the metrics know of a model: members, encoded input, named layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

Tap = Callable[[str, Tensor, Tensor, bool], None]
"""Called for every named layer with (name, before activation, after activation, activation has exact zeros)."""


@dataclass(frozen=True)
class Signature:
    """The shapes of a task.

    Attributes:
        length: tokens of a question, or features of a point.
        vocabulary: number of token kinds; None for continuous features.
        outputs: number of outputs (classes).
        fixed: tokens by position that are the same in every question, held-out ones included (`op`, `=`); a model
            may rely on it.
    """

    length: int
    vocabulary: int | None
    outputs: int
    fixed: Mapping[int, int] = field(default_factory=dict)


class StackedModel(nn.Module):
    """E networks of one shape; every parameter has a leading member axis [E, ...]."""

    def encode(self, inputs: Tensor) -> Tensor:
        """The parameter-free part of the forward pass, [E, B, L] -> [E, B, ...].

        Apart from `forward` so that the loop encodes an unchanging full batch once.
        """
        return inputs

    def forward(self, encoded: Tensor, tap: Tap | None = None) -> Tensor:
        """Outputs [E, B, C] of encoded input; `tap` sees every named layer on the way."""
        raise NotImplementedError(f"{type(self).__name__} has no forward pass")

    def layers(self) -> Mapping[str, Mapping[str, nn.Parameter]]:
        """The parameters of each named layer by role ("weight", "bias"), in the order of the forward pass."""
        raise NotImplementedError(f"{type(self).__name__} names no layers")

    def reset(self, member: int, init: str, generator: torch.Generator) -> None:
        """Draw one member's initial weights, layer by layer, from its own generator."""
        raise NotImplementedError(f"{type(self).__name__} draws no weights")


class ModelChoice(Protocol):
    """A choice of the config group `model`: what each member wants its network to be."""

    @property
    def init(self) -> str:
        """Name of the initialisation."""
        ...

    @property
    def init_scale(self) -> float:
        """Factor on every initial parameter."""
        ...

    def network(self, members: int, signature: Signature) -> StackedModel:
        """A stack of `members` networks with parameters not drawn yet."""
        ...


def build(
    choices: Sequence[ModelChoice], signature: Signature, generators: Sequence[torch.Generator], dtype: torch.dtype
) -> StackedModel:
    """The stack of all members' networks, each with initial weights from its own generator, times its scale.

    Args:
        choices: one a member; they may differ in `init` and `init_scale` alone, which the caller has checked.
        signature: the shapes they share.
        generators: one CPU generator a member.
        dtype: of the parameters; the draws are made in it.
    """
    network = choices[0].network(len(choices), signature).to(dtype)
    with torch.no_grad():
        for member, (choice, generator) in enumerate(zip(choices, generators, strict=True)):
            network.reset(member, choice.init, generator)
            for parameter in network.parameters():
                parameter[member] *= choice.init_scale
    return network
