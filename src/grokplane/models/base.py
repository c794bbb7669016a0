"""What the loop and the metrics know of a model: members, encoded input, named layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn

from grokplane.random import Counters, generator


class Tap(Protocol):
    """What is called for every named layer."""

    def __call__(
        self,
        name: str,
        preactivations: Tensor,
        activations: Tensor,
        exact_zeros: bool,
        noisy: Tensor | None = None,
        sigma: Tensor | None = None,
        /,
    ) -> None:
        """See a layer's values [E, B, ..., F].

        Args:
            name: the layer's name.
            preactivations: before the activation function.
            activations: after it.
            exact_zeros: whether the function can return exactly zero on a whole interval.
            noisy: the activations with the layer's noise; None where it has none.
            sigma: the noise's standard deviation [E]; None where there is no noise.
        """
        ...


class InnerTap:
    """A tap that is shown the tensors inside layers, which other taps do not cost the forward pass.

    Args:
        found: receives the tensors [E, B, ...] by name.
    """

    def __init__(self, found: dict[str, Tensor]) -> None:
        self.found = found

    def __call__(self, *_: object) -> None:
        """Ignore the layers themselves."""


@dataclass(frozen=True)
class Signature:
    """The shapes of a task.

    Attributes:
        length: tokens of a question, or features of a point.
        vocabulary: number of token kinds; None for continuous features.
        outputs: number of outputs (classes).
        fixed: tokens by position that are the same in every question, held-out ones included (`op`, `=`); a model
            may rely on it.
        shape: the shape of a point as it comes: (28, 28) for images.
    """

    length: int
    vocabulary: int | None
    outputs: int
    fixed: Mapping[int, int] = field(default_factory=dict)
    shape: tuple[int, ...] = ()


class StackedModel(nn.Module):
    """E networks of one shape; every parameter has a leading member axis [E, ...].

    Attributes:
        capturable: whether a step in training is the same sequence of kernels every time, with nothing asked of the
            device on the way, so that it can be captured as a CUDA graph.
    """

    capturable = False

    def encode(self, inputs: Tensor) -> Tensor:
        """The parameter-free part of the forward pass, [E, B, L] -> [E, B, ...].

        Apart from `forward` so that the loop encodes an unchanging full batch once.
        """
        return inputs

    def mixes(self, training: bool) -> bool:  # noqa: ARG002 (no network of ours does)
        """Whether the outputs of one point depend on the others of its batch, in training or outside of it."""
        return False

    def seen(self, inputs: Tensor) -> Tensor:
        """What the networks see of inputs [B, ...], whatever their parameters: they cannot tell equal rows apart."""
        return inputs

    def forward(self, encoded: Tensor, tap: Tap | None = None) -> Tensor:
        """Outputs [E, B, C] of encoded input; `tap` sees every named layer on the way."""
        raise NotImplementedError(f"{type(self).__name__} has no forward pass")

    def at(self, step: int) -> None:
        """Tell layers that draw random numbers which step it is."""
        for layer in self.noisy:
            layer.at(step)

    def pad(self, real: Tensor | None, training: bool) -> None:
        """Tell layers that reckon over the points of a batch which of them are real [E, B], bool; None: all of them.

        Args:
            real: holds for all coming batches until this is called again.
            training: whether it is said of batches in training, or of those outside of it.
        """
        for layer in self.noisy:
            layer.real[training] = real

    @cached_property
    def noisy(self) -> list[Noisy]:
        """The layers that draw random numbers."""
        return [module for module in self.modules() if isinstance(module, Noisy) and module.drawn]

    @property
    def noise_flows(self) -> bool:
        """Whether noise goes on through the network, in training or outside of it as it is now."""
        return any(layer.flows for layer in self.noisy)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """In this block no layer draws random numbers."""
        layers = self.noisy
        for layer in layers:
            layer.quiet = True
        try:
            yield
        finally:
            for layer in layers:
                layer.quiet = False

    def hidden(self) -> list[str]:
        """Names of the hidden matrices [E, out, in]: not embeddings, nor a first layer on data, nor the last layer."""
        return []

    def layers(self) -> Mapping[str, Mapping[str, nn.Parameter]]:
        """The parameters of each named layer by role ("weight", "bias"), in the order of the forward pass."""
        raise NotImplementedError(f"{type(self).__name__} names no layers")

    def reset(self, member: int, init: str, generator: torch.Generator) -> None:
        """Draw one member's initial weights, layer by layer, from its own generator."""
        raise NotImplementedError(f"{type(self).__name__} draws no weights")


class Noisy(nn.Module):
    """A layer that draws random numbers: a function of (seed, its name, step), see `Counters`.

    Attributes:
        strength: name of the option of the model that says how strong; stackable.
        drawn: whether any member's noise is above 0.
        quiet: whether nothing is to be drawn at present.
        step: the step whose numbers are drawn.
        real: see `StackedModel.pad`; by whether the network is in training.
    """

    strength: str

    def __init__(self) -> None:
        super().__init__()
        self.drawn = self.quiet = False
        self.step = 0
        self.real: dict[bool, Tensor | None] = {True: None, False: None}
        self.counters = Counters([], "")
        self.strengths: list[float] = []

    @property
    def flows(self) -> bool:
        """Whether what is drawn goes on through the network, in training or outside of it as it is now."""
        return self.drawn and not self.quiet

    def attach(self, name: str, seeds: Sequence[int], strengths: Sequence[float]) -> None:
        """Say whose numbers are drawn, and how strong the noise of each member is."""
        self.counters, self.strengths = Counters(seeds, name), list(strengths)
        self.drawn = any(strengths)

    def at(self, step: int) -> None:
        """Say which step it is."""
        self.step = step
        self.counters.at(step)


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
    choices: Sequence[ModelChoice], signature: Signature, seeds: Sequence[int], dtype: torch.dtype
) -> StackedModel:
    """The stack of all members' networks, each with initial weights from its own seed, times its scale.

    Args:
        choices: one a member; they may differ in stackable keys alone, which the caller has checked.
        signature: the shapes they share.
        seeds: one a member.
        dtype: of the parameters; the draws are made in it.
    """
    network = choices[0].network(len(choices), signature).to(dtype)
    for name, module in network.named_modules():
        if isinstance(module, Noisy):
            module.attach(name, seeds, [getattr(choice, module.strength) for choice in choices])
    with torch.no_grad():
        for member, (choice, seed) in enumerate(zip(choices, seeds, strict=True)):
            network.reset(member, choice.init, generator(seed, "weights"))
            for parameter in network.parameters():
                parameter[member] *= choice.init_scale
    return network
