"""The interface of models for the loop and the metrics: members, encoded input, named layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from grokplane.options import ConfigError
from grokplane.random import Counters, generator

PARTS = ("embedding", "hidden", "read_out")


class Tap(Protocol):
    """A function that is called for every named layer of a forward pass."""

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
        """Receive a layer's values [E, B, ..., F].

        Args:
            name: the layer's name.
            preactivations: values before the activation function.
            activations: values after the activation function.
            exact_zeros: whether the activation function is exactly zero on a whole interval.
            noisy: the activations with the layer's noise; None if it has none.
            sigma: the noise's standard deviation [E]; None if there is no noise.
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
        length: number of tokens of a question, or of features of a point.
        vocabulary: number of token kinds; None for continuous features.
        outputs: length C of an output vector (number of classes).
        fixed: tokens by position that are the same in every question, including held-out ones (`op`, `=`); a model may
            rely on them.
        shape: the original shape of a point: (28, 28) for images.
        positions: number T of output vectors for each point, which is a sequence of answers; None: a single one. A
            model reads output t at input L - T + t.
        causal: whether no output may depend on later inputs, because these are the answer.
    """

    length: int
    vocabulary: int | None
    outputs: int
    fixed: Mapping[int, int] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    positions: int | None = None
    causal: bool = False

    @property
    def given(self) -> Literal["tokens", "vectors", "images", "arrays"]:
        """How questions are given: tokens, vectors of features, images ([channels,] height, width), other arrays."""
        if self.vocabulary is not None:
            return "tokens"
        return "vectors" if len(self.shape) < 2 else "images" if len(self.shape) < 4 else "arrays"

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the outputs of one point: (C,) or (T, C)."""
        return (self.outputs,) if self.positions is None else (self.positions, self.outputs)

    def check_read_out(self, model: str) -> None:
        """Raise ConfigError for a sequence of more answers than tokens, each of which is read at a token of its own."""
        if self.positions is not None and self.positions > self.length:
            allowed = (
                f"reads one answer at each token, and this task has {self.positions} answers for {self.length} tokens"
            )
            raise ConfigError("model", model, allowed)


class StackedModel(nn.Module):
    """E networks of one shape; every parameter has a leading member axis [E, ...].

    Attributes:
        capturable: whether every training step runs the same sequence of kernels without synchronising with the device,
            so that the step can be captured as a CUDA graph.
    """

    capturable = False

    def encode(self, inputs: Tensor) -> Tensor:
        """The parameter-free part of the forward pass, [E, B, L] -> [E, B, ...].

        Separate from `forward`, so that the loop encodes a constant full batch once.
        """
        return inputs

    def mixes(self, training: bool) -> bool:  # noqa: ARG002 (no network of ours does)
        """Whether a point's outputs depend on the other points of the batch, in training or in evaluation."""
        return False

    def seen(self, inputs: Tensor) -> Tensor:
        """The inputs [B, ...] as the networks use them: equal rows give equal outputs, whatever the parameters."""
        return inputs

    def forward(self, encoded: Tensor, tap: Tap | None = None) -> Tensor:
        """Outputs [E, B, C] of encoded input; `tap` is called for every named layer."""
        raise NotImplementedError(f"{type(self).__name__} has no forward pass")

    def at(self, step: int) -> None:
        """Set the step in layers that draw random numbers."""
        for layer in self.noisy:
            layer.at(step)

    def pad(self, real: Tensor | None, training: bool) -> None:
        """Set which points of a batch are real [E, B], bool, in layers that compute over a batch; None: all points.

        Args:
            real: applies to all batches until the next call.
            training: whether it applies to training batches, or to batches in evaluation.
        """
        for layer in self.noisy:
            layer.real[training] = real

    @cached_property
    def noisy(self) -> list[Noisy]:
        """The layers that draw random numbers."""
        return [module for module in self.modules() if isinstance(module, Noisy) and module.drawn]

    @property
    def noise_flows(self) -> bool:
        """Whether noise propagates through the network, in its present mode (training or evaluation)."""
        return any(layer.flows for layer in self.noisy)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """A block in which no layer draws random numbers."""
        layers = self.noisy
        for layer in layers:
            layer.quiet = True
        try:
            yield
        finally:
            for layer in layers:
                layer.quiet = False

    def hidden(self) -> list[str]:
        """Names of the hidden matrices [E, out, in], without embeddings, a first layer on data, and the last layer."""
        return []

    def set_options(self, choices: Sequence[Any]) -> None:
        """Set the values of stackable keys of this network's own, one choice per member, before weights are drawn."""

    def begin(self) -> None:
        """Called once, after the initial weights of all members are drawn and scaled."""

    def check(self, inputs: Tensor, targets: Tensor) -> None:
        """Raise ConfigError for a task that the network cannot have, when a stack is built.

        Args:
            inputs: all questions of one member's table [N, ...].
            targets: their answers [N, ...], without label noise.
        """

    def matrices(self) -> list[str]:
        """Names of all matrices [E, out, in] of layers, embeddings included, in the order of the forward pass."""
        parameters = dict(self.named_parameters())
        return [name for roles in self.layer_names().values() for name in roles.values() if parameters[name].dim() == 3]

    def layers(self) -> Mapping[str, Mapping[str, nn.Parameter]]:
        """The parameters of each named layer by role ("weight", "bias"), in the order of the forward pass."""
        raise NotImplementedError(f"{type(self).__name__} names no layers")

    def layer_names(self) -> dict[str, dict[str, str]]:
        """The full name of each layer's parameters, by layer and role; `layers` must give the parameters themselves."""
        names = {id(value): name for name, value in self.named_parameters()}
        return {
            layer: {role: names[id(value)] for role, value in roles.items()} for layer, roles in self.layers().items()
        }

    def parts(self) -> dict[str, list[str]]:
        """Full names of the parameters by part of the network.

        `embedding` is the token embeddings and positions, `read_out` the last layer, `hidden` all other parameters.

        Raises:
            ConfigError: the parts cannot be told apart.
        """
        layers = self.layer_names()
        named = {layer: "embedding" for layer in ("embedding", "positions") if layer in layers}
        named.setdefault(list(layers)[-1], "read_out")
        part = {name: named.get(layer, "hidden") for layer, roles in layers.items() for name in roles.values()}
        return {one: [name for name, _ in self.named_parameters() if part.get(name, "hidden") == one] for one in PARTS}

    def reset(self, member: int, init: str, generator: torch.Generator) -> None:
        """Draw one member's initial weights, layer by layer, from its own generator."""
        raise NotImplementedError(f"{type(self).__name__} draws no weights")


class Noisy(nn.Module):
    """A layer that draws random numbers: a function of (seed, its name, step), see `Counters`.

    Attributes:
        strength: name of the model's option for the strength; stackable.
        drawn: whether any member's noise is above 0.
        quiet: whether drawing is switched off.
        step: the step whose numbers are drawn.
        real: see `StackedModel.pad`; one entry each for training and evaluation.
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
        """Whether the drawn numbers propagate through the network, in its present mode (training or evaluation)."""
        return self.drawn and not self.quiet

    def attach(self, name: str, seeds: Sequence[int], strengths: Sequence[float]) -> None:
        """Set the members' seeds and the strength of each member's noise."""
        self.counters, self.strengths = Counters(seeds, name), list(strengths)
        self.drawn = any(strengths)

    def at(self, step: int) -> None:
        """Set the step."""
        self.step = step
        self.counters.at(step)


class ModelChoice(Protocol):
    """A choice of the config group `model`: the configuration of a member's network.

    It may have an attribute `lr_factor`, a factor on the learning rates of the optimizer; without it the factor is 1.
    """

    @property
    def init(self) -> str:
        """Name of the initialisation."""
        ...

    @property
    def init_scale(self) -> float:
        """Factor on every initial parameter."""
        ...

    def network(self, members: int, signature: Signature) -> StackedModel:
        """A stack of `members` networks; their parameters are not drawn yet."""
        ...


def build(
    choices: Sequence[ModelChoice], signature: Signature, seeds: Sequence[int], dtype: torch.dtype
) -> StackedModel:
    """The stack of all members' networks. Each has initial weights from its own seed, multiplied by its scale.

    Args:
        choices: one per member; the caller has checked that they differ only in stackable keys.
        signature: the shapes that all members share.
        seeds: one per member.
        dtype: dtype of the parameters, in which they are drawn.
    """
    network = choices[0].network(len(choices), signature).to(dtype)
    network.set_options(choices)
    for name, module in network.named_modules():
        if isinstance(module, Noisy):
            module.attach(name, seeds, [getattr(choice, module.strength) for choice in choices])
    with torch.no_grad():
        for member, (choice, seed) in enumerate(zip(choices, seeds, strict=True)):
            network.reset(member, choice.init, generator(seed, "weights"))
            for parameter in network.parameters():
                parameter[member] *= choice.init_scale
    network.begin()
    return network
