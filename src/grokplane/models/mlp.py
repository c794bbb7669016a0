"""The multi-layer perceptron, stacked over members."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from grokplane.models.base import Signature, StackedModel, Tap
from grokplane.models.init import INITIALISATIONS
from grokplane.models.inputs import INPUTS, Features
from grokplane.models.layers import ACTIVATIONS, Linear
from grokplane.models.noise import Noise, NoiseOptions
from grokplane.models.perceptron import perceptron
from grokplane.options import checked, option
from grokplane.unread import Surroundings


@dataclass(frozen=True)
@checked
class MLP(NoiseOptions):
    """Embedding (for tokens), hidden layers with an activation function, a linear output layer."""

    hidden: list[int] = option([32, 32], "width of each hidden layer", at_least=1)
    embedding: str = option("sum", "encoding of tokens; none: the input is features", choices=INPUTS)
    embedding_dim: int | None = option(None, "width of the embedding (sum, concat); null: 200", at_least=1)
    activation: str = option("ReLU", "activation function of the hidden layers", choices=ACTIVATIONS)
    init: str = option("torch", "initialisation of weights", choices=INITIALISATIONS)
    init_scale: float = option(1.0, "factor on every initial parameter", above=0, stackable=True)

    def unread(self, around: Surroundings) -> dict[str, str]:
        """See `grokplane.unread`."""
        own = {} if self.hidden else {"activation": "there is no hidden layer"}
        return own | super().unread(around)

    def network(self, members: int, signature: Signature) -> "StackedMLP":
        """Build the stack; its parameters are not drawn yet."""
        return StackedMLP(members, signature, self)


class StackedMLP(StackedModel):
    """E perceptrons with layers "embedding" (if there is one), "layer 1", "layer 2", ..."""

    capturable = True

    def __init__(self, members: int, signature: Signature, config: MLP) -> None:
        super().__init__()
        self.input = INPUTS[config.embedding](members, signature, config.embedding_dim)
        widths = [self.input.width, *config.hidden, signature.outputs]
        self.linears = nn.ModuleList(Linear(members, a, b) for a, b in pairwise(widths))
        self.noises = nn.ModuleList(Noise(config) for _ in self.linears)
        self.activation = ACTIVATIONS[config.activation]

    def encode(self, inputs: Tensor) -> Tensor:
        """See `encode` of the input layer."""
        return self.input.encode(inputs, self.linears[0].weight.dtype)

    def seen(self, inputs: Tensor) -> Tensor:
        """See `seen` of the input layer."""
        return self.input.seen(inputs)

    def forward(self, encoded: Tensor, tap: Tap | None = None) -> Tensor:
        """Outputs [E, B, C]."""
        if tap is None and self.activation.slope is not None and not any(noise.flows for noise in self.noises):
            return self._at_once(encoded)
        values = self.input.first(encoded, self.linears[0])
        for number, (linear, noise) in enumerate(zip(self.linears, self.noises, strict=True), start=1):
            preactivations = values if number == 1 else linear(values)
            activations, zeros = preactivations, False
            if number < len(self.linears):
                activations, zeros = self.activation.function(preactivations), self.activation.exact_zeros
            values, noisy, sigma = noise(activations, measured=tap is not None)
            if tap is not None:
                tap(f"layer {number}", preactivations, activations, zeros, noisy, sigma)
        return values

    def _at_once(self, encoded: Tensor) -> Tensor:
        """The same outputs, if there is no tap and no noise between the layers."""
        linears: list[Any] = list(self.linears)
        if isinstance(self.input, Features):
            return perceptron(encoded, linears, self.activation, activated=True)
        first = self.input.first(encoded, linears[0])
        return perceptron(first, linears[1:], self.activation, activated=False) if len(linears) > 1 else first

    def hidden(self) -> list[str]:
        """The weights between hidden layers, and the first weight if it follows an embedding."""
        first = 1 if self.input.embedding is None else 0
        return [f"linears.{number}.weight" for number in range(first, len(self.linears) - 1)]

    def layers(self) -> dict[str, dict[str, nn.Parameter]]:
        """Weight and bias of each layer."""
        embedding = {} if self.input.embedding is None else {"embedding": self.input.embedding}
        named = embedding | {f"layer {number}": linear for number, linear in enumerate(self.linears, start=1)}
        return {name: dict(module.named_parameters()) for name, module in named.items()}

    def reset(self, member: int, init: str, generator: torch.Generator) -> None:
        """Draw the embedding, then each layer in order."""
        for layer in [self.input.embedding, *self.linears]:
            if layer is not None:
                layer.reset(member, init, generator)


GROUP = "model"
CHOICES = {"mlp": MLP}
