"""Outputs alpha * (f(x) - f_0(x)): from lazy (large alpha) to rich (small alpha) training.

Chizat et al. 2019, arXiv 1812.07956; for grokking Kumar et al. 2024, arXiv 2310.06110.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grokplane.derivatives import transformed
from grokplane.models.base import StackedModel, Tap
from grokplane.options import ConfigError, option
from grokplane.unread import Surroundings


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """The keys of a model whose outputs can be scaled and centred.

    The learning rate is scaled for gradient descent. The size of Adam's steps hardly depends on alpha. Decoupled weight
    decay is proportional to the learning rate, and so it is scaled too.
    """

    output_scale: float = option(1.0, "factor on the outputs", above=0, stackable=True)
    centred: bool = option(False, "subtract the outputs of the initial network, before model.output_scale")
    scale_lr: bool = option(False, "divide the learning rate by the square of model.output_scale")

    def __post_init__(self) -> None:
        if self.scale_lr and not 0 < self.lr_factor < float("inf"):
            raise ConfigError("model.output_scale", self.output_scale, "has no finite square for model.scale_lr=true")

    def unread(self, around: Surroundings) -> dict[str, str]:  # noqa: ARG002 (its own keys decide)
        """See `grokplane.unread`."""
        return {"scale_lr": "model.output_scale=1 leaves the learning rate"} if self.output_scale == 1 else {}

    @property
    def lr_factor(self) -> float:
        """Factor on the optimizer's learning rates: 1 / alpha^2 with `scale_lr`.

        A step of gradient descent with rate eta changes the outputs by eta * alpha^2 times the kernel of f, to first
        order. With this factor the change does not depend on alpha.
        """
        return 1 / self.output_scale / self.output_scale if self.scale_lr else 1.0


class OutputScale(nn.Module):
    """Scales the outputs of E networks, each by its own alpha, and subtracts those of the initial networks f_0.

    The weights of f_0 are buffers that no checkpoint holds. They are equal to the weights of the network before the
    first step, which the seed determines.

    Args:
        members: E.
        start: networks of the same shape, without noise, that become f_0; None: nothing is subtracted.

    Attributes:
        active: whether outputs differ from those of the network.
    """

    factor: Tensor

    def __init__(self, members: int, start: StackedModel | None) -> None:
        super().__init__()
        self.start = None if start is None else _without_parameters(start)
        self.active = start is not None
        self.register_buffer("factor", torch.ones(members), persistent=False)
        self._last: tuple[Tensor, int, Tensor] | None = None

    def set_scales(self, scales: Sequence[float]) -> None:
        """Set each member's alpha."""
        self.factor.copy_(torch.tensor(scales, dtype=torch.float64))
        self.active = self.start is not None or any(scale != 1 for scale in scales)

    @torch.no_grad()
    def begin(self, network: nn.Module) -> None:
        """Copy the weights of the network to f_0."""
        weights = dict(network.named_parameters())
        for name, value in [] if self.start is None else self.start.named_buffers():
            if name in weights:
                value.copy_(weights[name])

    def forward(self, values: Tensor, encoded: Tensor, tap: Tap | None = None) -> Tensor:
        """alpha * (f(x) - f_0(x)), [E, B, C].

        Args:
            values: f(x), outputs of the network.
            encoded: x, its encoded input.
            tap: the tap of the forward pass. The pass of f_0 calls the same kernels, with or without one, so that the
                difference of equal networks is exactly 0.
        """
        if self.start is not None:
            values = values - self._at_start(encoded, tap)
        return values * self.factor.view(-1, 1, 1)

    def _at_start(self, encoded: Tensor, tap: Tap | None) -> Tensor:
        """f_0(x), which is computed once for a full batch: its encoded input is the same tensor in every step.

        Passes outside of training neither use nor replace the result, because a captured step reads its memory.
        """
        assert self.start is not None
        if tap is not None or not self.training or encoded.requires_grad or transformed():
            return self.start(encoded, None if tap is None else _ignore)
        if self._last is None or self._last[0] is not encoded or self._last[1] != encoded._version:
            self._last = encoded, encoded._version, self.start(encoded).detach()
        return self._last[2]


def _without_parameters(network: StackedModel) -> StackedModel:
    """The network with a buffer, which no state dict holds, in place of each parameter."""
    for module in network.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, value.detach(), persistent=False)
    return network


def _ignore(*_: object) -> None:
    """A tap that ignores its arguments."""
