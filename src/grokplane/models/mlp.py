"""The multi-layer perceptron, stacked over members."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from grokplane.models.analytic import ANALYTIC, check_answers, check_network, check_signature, fill
from grokplane.models.base import Signature, StackedModel, Tap
from grokplane.models.dropout import Dropout
from grokplane.models.init import INITIALISATIONS, Initialisation, gaussian, gaussian_sigma
from grokplane.models.inputs import INPUTS, Features
from grokplane.models.layers import ACTIVATIONS, Linear
from grokplane.models.noise import Noise, NoiseOptions
from grokplane.models.output_scale import OutputOptions, OutputScale
from grokplane.models.perceptron import perceptron
from grokplane.options import ConfigError, checked, option
from grokplane.unread import Surroundings

GAUSSIAN = "gaussian"


@dataclass(frozen=True)
@checked
class MLP(OutputOptions, NoiseOptions):
    """Embedding (for tokens), hidden layers with an activation function, a linear output layer."""

    hidden: list[int] = option([32, 32], "width of each hidden layer", at_least=1)
    embedding: str = option("sum", "encoding of tokens; none: the input is features", choices=INPUTS)
    embedding_dim: int | None = option(None, "width of the embedding (sum, concat); null: 200", at_least=1)
    activation: str = option("ReLU", "activation function of the hidden layers", choices=ACTIVATIONS)
    init: str = option("torch", "initialisation of weights", choices=[*INITIALISATIONS, GAUSSIAN, ANALYTIC])
    init_scale: float = option(1.0, "factor on every initial parameter", above=0, stackable=True)
    init_sigma: float | None = option(
        None,
        "standard deviation of weights (init=gaussian); null: 0.5 / (2 N)^(1/3), N hidden units",
        above=0,
        stackable=True,
    )
    bias: Any = option(True, "biases: true, false, or a list of one for each hidden layer and the read-out")
    dropout: float = option(0.0, "dropout after each hidden layer, in training", at_least=0, below=1, stackable=True)

    def __post_init__(self) -> None:
        NoiseOptions.__post_init__(self)
        OutputOptions.__post_init__(self)
        self._check_biases()
        self._check_init()
        random = "dropout" if self.dropout else "noise_sigma" if self.noise_sigma else None
        if self.centred and random and not (random == "noise_sigma" and self.noise_flow == "measured"):
            allowed = "needs model.centred=false, as the initial network has no random numbers of its own; use 0"
            raise ConfigError(f"model.{random}", getattr(self, random), allowed)

    def _check_biases(self) -> None:
        each = self.bias if isinstance(self.bias, list | tuple) else [self.bias]
        if not all(isinstance(one, bool) for one in each):
            raise ConfigError("model.bias", self.bias, "must be true, false or a list of these")
        if each is self.bias and len(each) != len(self.hidden) + 1:
            allowed = f"must be a list of {len(self.hidden) + 1}: one for each hidden layer and one for the read-out"
            raise ConfigError("model.bias", self.bias, allowed)

    def _check_init(self) -> None:
        if self.init_sigma is not None and self.init != GAUSSIAN:
            raise ConfigError("model.init_sigma", self.init_sigma, f"needs model.init={GAUSSIAN}, not {self.init}")
        if self.init == GAUSSIAN and self.init_sigma is None and not self.hidden:
            raise ConfigError("model.init_sigma", None, "must be a number, as there is no hidden layer")
        if self.init == ANALYTIC:
            check_network(asdict(self), any(self.biases), self.hidden)

    def unread(self, around: Surroundings) -> dict[str, str]:
        """See `grokplane.unread`."""
        own = {} if self.hidden else dict.fromkeys(("activation", "dropout"), "there is no hidden layer")
        return own | OutputOptions.unread(self, around) | NoiseOptions.unread(self, around)

    @property
    def biases(self) -> list[bool]:
        """Whether each linear layer has a bias: hidden layers in order, then the read-out."""
        return [self.bias] * (len(self.hidden) + 1) if isinstance(self.bias, bool) else list(self.bias)

    @property
    def at_start(self) -> "MLP":
        """The configuration of the network whose outputs `centred` subtracts."""
        return replace(self, output_scale=1.0, centred=False, scale_lr=False)

    def initial(self, layer: int) -> str | Initialisation:
        """The initialisation of a linear layer (from 0).

        The width N in the default of `init_sigma` is the number of hidden units that the layer computes, or for the
        read-out the number that it reads.
        """
        if self.init != GAUSSIAN:
            return self.init
        return gaussian(self.init_sigma or gaussian_sigma([*self.hidden, self.hidden[-1]][layer]))

    def network(self, members: int, signature: Signature) -> "StackedMLP":
        """Build the stack; its parameters are not drawn yet.

        Raises:
            ConfigError: a task that does not fit the encoding of the input or the initialisation.
        """
        if self.init == ANALYTIC:
            check_signature(signature)
        return StackedMLP(members, signature, self)


class StackedMLP(StackedModel):
    """E perceptrons with layers "embedding" (if there is one), "layer 1", "layer 2", ..."""

    capturable = True

    def __init__(self, members: int, signature: Signature, config: MLP) -> None:
        super().__init__()
        self.input = INPUTS[config.embedding](members, signature, config.embedding_dim)
        widths = [self.input.width, *config.hidden, signature.outputs]
        shapes = zip(pairwise(widths), config.biases, strict=True)
        self.linears = nn.ModuleList(Linear(members, a, b, bias) for (a, b), bias in shapes)
        self.noises = nn.ModuleList(Noise(config) for _ in self.linears)
        self.dropouts = nn.ModuleList(Dropout() for _ in config.hidden)
        self.activation = ACTIVATIONS[config.activation]
        start = StackedMLP(members, signature, config.at_start) if config.centred else None
        self.output = OutputScale(members, start)
        self._choices: Sequence[MLP] = [config] * members
        self._classes = signature.outputs
        self._rescaled = self.output.active  # read in every step, where an attribute of a submodule costs more

    def encode(self, inputs: Tensor) -> Tensor:
        """See `encode` of the input layer."""
        return self.input.encode(inputs, self.linears[0].weight.dtype)

    def seen(self, inputs: Tensor) -> Tensor:
        """See `seen` of the input layer."""
        return self.input.seen(inputs)

    def forward(self, encoded: Tensor, tap: Tap | None = None) -> Tensor:
        """Outputs [E, B, C]."""
        if tap is None and self.activation.slope is not None and not self.noise_flows:
            values = self._at_once(encoded)
            return self.output(values, encoded) if self._rescaled else values
        values = self.input.first(encoded, self.linears[0])
        layers = zip(self.linears, self.noises, [*self.dropouts, None], strict=True)
        for number, (linear, noise, dropout) in enumerate(layers, start=1):
            preactivations = values if number == 1 else linear(values)
            if dropout is None and self._rescaled:  # the read-out
                preactivations = self.output(preactivations, encoded, tap)
            activations, zeros = preactivations, False
            if dropout is not None:
                activations, zeros = self.activation.function(preactivations), self.activation.exact_zeros
            values, noisy, sigma = noise(activations, measured=tap is not None)
            if tap is not None:
                tap(f"layer {number}", preactivations, activations, zeros, noisy, sigma)
            values = values if dropout is None else dropout(values)
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

    def set_options(self, choices: Sequence[MLP]) -> None:
        """See `StackedModel`."""
        self._choices = choices
        self.output.set_scales([choice.output_scale for choice in choices])
        self._rescaled = self.output.active

    def begin(self) -> None:
        """Keep the initial weights if outputs are centred."""
        self.output.begin(self)

    def check(self, inputs: Tensor, targets: Tensor) -> None:
        """Refuse another task than addition for the network that is built for it."""
        if self._choices[0].init == ANALYTIC:
            check_answers(inputs, targets, self._classes)

    def reset(self, member: int, init: str, generator: torch.Generator) -> None:
        """Draw the embedding, then each layer in order."""
        linears: list[Any] = list(self.linears)
        if init == ANALYTIC:
            fill(linears[0].weight[member], linears[1].weight[member], generator)
            return
        if self.input.embedding is not None:
            self.input.embedding.reset(member, gaussian(1.0) if init == GAUSSIAN else init, generator)
        for number, linear in enumerate(linears):
            linear.reset(member, self._choices[member].initial(number) if init == GAUSSIAN else init, generator)


GROUP = "model"
CHOICES = {"mlp": MLP}
