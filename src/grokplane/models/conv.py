"""A small convolutional network for images, stacked over members by grouped convolution."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grokplane.derivatives import transformed
from grokplane.models.base import Signature, StackedModel, Tap
from grokplane.models.init import INITIALISATIONS
from grokplane.models.layers import ACTIVATIONS, Linear
from grokplane.models.noise import Noise, NoiseOptions
from grokplane.options import ConfigError, checked, option
from grokplane.unread import Surroundings

# Number of points per convolution and pooling: the values before pooling take four times the memory.
CHUNK = 1024


@dataclass(frozen=True)
@checked
class Conv(NoiseOptions):
    """Blocks of convolution, 2 x 2 max-pooling and activation, then linear layers.

    Similar to the network that Butakov et al. 2024 (ICLR, arXiv 2305.08013) show on the information plane. The defaults
    map 28 x 28 pixels to 8 x 13 x 13, to 16 x 5 x 5 = 400 values, to 32 units and the outputs.
    """

    channels: list[int] = option([8, 16], "output channels of each convolution", at_least=1)
    kernel: int = option(3, "width of the convolutions' kernels", at_least=1)
    padding: int = option(0, "zeros around the image before each convolution", at_least=0)
    hidden: list[int] = option([32], "width of each hidden linear layer", at_least=1)
    activation: str = option("LeakyReLU", "activation function of all layers but the last", choices=ACTIVATIONS)
    init: str = option("torch", "initialisation of weights", choices=INITIALISATIONS)
    init_scale: float = option(1.0, "factor on every initial parameter", above=0, stackable=True)

    def unread(self, around: Surroundings) -> dict[str, str]:
        """See `grokplane.unread`."""
        own = {} if self.channels else dict.fromkeys(("kernel", "padding"), "there is no convolution")
        own |= {} if self.channels or self.hidden else {"activation": "there is no layer but the last"}
        return own | super().unread(around)

    def network(self, members: int, signature: Signature) -> StackedConv:
        """Build the stack; its parameters are not drawn yet.

        Raises:
            ConfigError: a task whose input is not images, or images that are too small for the blocks.
        """
        if signature.given != "images":
            raise ConfigError("model", "conv", "reads images, and this task's input is not images; use another model")
        return StackedConv(members, self.sizes(signature.shape), signature.outputs, self)

    def sizes(self, shape: tuple[int, ...]) -> list[tuple[int, int, int]]:
        """Channels, height and width of images of shape ([channels,] height, width), and of each block's output."""
        channels, height, width = (1, *shape)[-3:]
        found = [(channels, height, width)]
        for out in self.channels:
            height, width = ((side + 2 * self.padding - self.kernel + 1) // 2 for side in (height, width))
            if min(height, width) < 1:
                allowed = f"leaves nothing of {shape[-2]} x {shape[-1]} pixels in block {len(found)}"
                raise ConfigError("model.kernel", self.kernel, f"{allowed}; raise model.padding or use fewer channels")
            found.append((out, height, width))
        return found


class Convolution(nn.Module):
    """E convolutions of stride 1: weight [E, out, in, k, k] as in torch.nn.Conv2d, bias [E, out]."""

    def __init__(self, members: int, fan_in: int, fan_out: int, kernel: int, padding: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, fan_out, fan_in, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(members, fan_out))
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """x [B, E * in, h, w], with the members' channels one after the other, to [B, E * out, h', w']."""
        members, weight, bias = len(self.weight), self.weight.flatten(0, 1), self.bias.flatten()
        return _mixed(F.conv2d(_mixed(x), weight, bias, padding=self.padding, groups=members))

    def reset(self, member: int, init: str, generator: torch.Generator) -> None:
        """Draw one member's weight, as for a linear map of the k x k patches, and its bias."""
        INITIALISATIONS[init].linear(self.weight[member].flatten(1), self.bias[member], generator)


class StackedConv(StackedModel):
    """E convolutional networks. Their layers are "layer 1", "layer 2", ...; the last one computes the outputs.

    A tap receives a convolution's values after pooling, [E, B, h, w, channels]: its units are the channels.
    """

    capturable = True

    def __init__(self, members: int, sizes: list[tuple[int, int, int]], outputs: int, config: Conv) -> None:
        super().__init__()
        self.sizes, channels = sizes, [size[0] for size in sizes]
        self.convolutions = nn.ModuleList(
            Convolution(members, a, b, config.kernel, config.padding) for a, b in pairwise(channels)
        )
        widths = [torch.Size(sizes[-1]).numel(), *config.hidden, outputs]
        self.linears = nn.ModuleList(Linear(members, a, b) for a, b in pairwise(widths))
        self.noises = nn.ModuleList(Noise(config) for _ in [*self.convolutions, *self.linears])
        activation = ACTIVATIONS[config.activation]
        self.activation, self.exact_zeros = activation.function, activation.exact_zeros

    def encode(self, inputs: Tensor) -> Tensor:
        """Images [E, B, ([c,] h, w)] as [E, B, c, h, w]."""
        return inputs.reshape(*inputs.shape[:2], *self.sizes[0])

    def forward(self, encoded: Tensor, tap: Tap | None = None) -> Tensor:
        """Outputs [E, B, C]."""
        layers, values = [*self.convolutions, *self.linears], encoded
        for number, (layer, noise) in enumerate(zip(layers, self.noises, strict=True), start=1):
            preactivations = self._pooled(layer, values) if isinstance(layer, Convolution) else layer(values.flatten(2))
            activations, zeros = preactivations, False
            if number < len(layers):
                activations, zeros = self.activation(preactivations), self.exact_zeros
            values, noisy, sigma = noise(activations, measured=tap is not None)
            if tap is not None:
                before, after, measured = map(_channels_last, (preactivations, activations, noisy))
                tap(f"layer {number}", before, after, zeros, measured, sigma)
        return values

    def _pooled(self, layer: Convolution, x: Tensor) -> Tensor:
        """Convolution and pooling, [E, B, c, h, w] -> [E, B, c', h', w']."""
        side_by_side = x.transpose(0, 1).flatten(1, 2)
        parts = [F.max_pool2d(layer(part), 2) for part in side_by_side.split(CHUNK)]
        pooled = parts[0] if len(parts) == 1 else torch.cat(parts)
        return pooled.unflatten(1, (len(x), -1)).transpose(0, 1)

    def hidden(self) -> list[str]:
        """The weights of all linear layers but the last; kernels are not matrices."""
        return [f"linears.{number}.weight" for number in range(len(self.linears) - 1)]

    def layers(self) -> dict[str, dict[str, nn.Parameter]]:
        """Weight and bias of each layer."""
        layers = enumerate([*self.convolutions, *self.linears], start=1)
        return {f"layer {number}": dict(layer.named_parameters()) for number, layer in layers}

    def reset(self, member: int, init: str, generator: torch.Generator) -> None:
        """Draw each layer in order."""
        for layer in [*self.convolutions, *self.linears]:
            assert isinstance(layer, Convolution | Linear)
            layer.reset(member, init, generator)


def _mixed(x: Tensor) -> Tensor:
    """x [B, c, h, w] with a pixel's channels adjacent in memory, which makes pooling three times as fast on a CPU."""
    return x if transformed() else x.contiguous(memory_format=torch.channels_last)  # vmap does not support this format


def _channels_last(values: Tensor) -> Tensor:
    """[E, B, c, h, w] as [E, B, h, w, c]; values of a linear layer unchanged."""
    return values.movedim(2, -1) if values.dim() == 5 else values


GROUP = "model"
CHOICES = {"conv": Conv}
