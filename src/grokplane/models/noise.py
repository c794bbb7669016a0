"""Gaussian noise after a layer, per member, which makes the information of a deterministic network finite.

Goldfeld et al. 2019, "Estimating information flow in deep neural networks".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.models.base import Noisy
from grokplane.options import ConfigError, option
from grokplane.random import Counters, generator
from grokplane.unread import Surroundings

SCALES = ("absolute", "relative")
TIMES = ("train", "eval", "both")
FLOWS = ("propagated", "measured")
# torch draws normal numbers in blocks of this size; a whole number of blocks starts with the same numbers at any
# length.
BLOCK = 16


@dataclass(frozen=True, kw_only=True)
class NoiseOptions:
    """The keys of a model that can have noise after each of its layers."""

    noise_sigma: float = option(
        0.0, "standard deviation of Gaussian noise after each layer; 0: none", at_least=0, stackable=True
    )
    noise_scale: str = option(
        "absolute",
        "noise_sigma is absolute, or relative to the standard deviation of the layer's values",
        choices=SCALES,
    )
    noise_in: str = option("both", "noise in training, at log points (eval) or in both", choices=TIMES)
    noise_flow: str = option(
        "propagated", "noise propagates through the network, or is in the measured layer only", choices=FLOWS
    )

    def __post_init__(self) -> None:
        if self.noise_flow == "measured" and self.noise_in == "train":
            raise ConfigError(
                "model.noise_in", "train", "needs model.noise_flow=propagated, as training measures nothing"
            )

    def unread(self, around: Surroundings) -> dict[str, str]:
        """See `grokplane.unread`."""
        if self.noise_sigma == 0:
            return dict.fromkeys(("noise_scale", "noise_in", "noise_flow"), "model.noise_sigma=0 is no noise")
        if self.noise_flow == "measured" and not around.noise_looked_at:
            why = "noise in the measured layer has an effect only for mi=compressed, infoplane and mutinfo"
            return dict.fromkeys(("noise_sigma", "noise_scale", "noise_in", "noise_flow"), why)
        return {}

    @property
    def noise_measured(self) -> bool:
        """Whether layers have noise at log points."""
        return self.noise_sigma > 0 and self.noise_in != "train"


class Noise(Noisy):
    """N(0, sigma^2) added to every value of a layer [E, B, ...], as a function of (seed, name, step, index).

    The function depends on the kind of device: see `_Normal`.

    Relative noise multiplies sigma by the standard deviation of the member's values over all real points and units of
    the batch, which is a constant in the backward pass. Log points use other random numbers than training.
    """

    strength = "noise_sigma"

    def __init__(self, options: NoiseOptions) -> None:
        super().__init__()
        self.options = options
        self._streams = {training: _Normal([], "") for training in (True, False)}
        self._sigma = torch.empty(0)

    def attach(self, name: str, seeds: Sequence[int], strengths: Sequence[float]) -> None:
        """See `Noisy`."""
        super().attach(name, seeds, strengths)
        self._streams = {True: _Normal(seeds, name), False: _Normal(seeds, f"{name} eval")}
        self._sigma = torch.tensor(self.strengths, dtype=torch.float32)

    def at(self, step: int) -> None:
        """See `Noisy`."""
        super().at(step)
        self._streams[self.training].counters.at(step)

    def forward(self, x: Tensor, measured: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """The values that propagate, the values that are measured, and the standard deviation [E] of their noise.

        Without noise the first two are x itself, and the last is None.

        Args:
            x: the layer's values [E, B, ...].
            measured: whether the second result is used.
        """
        flows = self.flows
        if not (flows or (measured and self._now)):
            return x, x, None
        sigma = self._deviations(x)
        noisy = x + self._streams[self.training](self.step, x).mul_(sigma.view(-1, *[1] * (x.dim() - 1)))
        return (noisy if flows else x), noisy, sigma

    @property
    def flows(self) -> bool:
        """See `Noisy`."""
        return self._now and self.options.noise_flow == "propagated"

    @property
    def _now(self) -> bool:
        return self.drawn and not self.quiet and self.options.noise_in in ("both", "train" if self.training else "eval")

    def _deviations(self, x: Tensor) -> Tensor:
        self._sigma = self._sigma.to(x.device)
        if self.options.noise_scale == "absolute":
            return self._sigma
        return self._sigma * _deviation(x.detach(), self.real[self.training]).to(self._sigma.dtype)


class _Normal:
    """Standard normal numbers for members' values; a point's numbers do not depend on the number of points after it.

    A CPU uses `random.generator`, other devices `random.Counters`.
    """

    def __init__(self, seeds: Sequence[int], stream: str) -> None:
        self._seeds, self._stream = list(seeds), stream
        self.counters = Counters(seeds, stream)

    def __call__(self, step: int, x: Tensor) -> Tensor:
        """Numbers with the shape and device of x [E, B, ...], float32."""
        count = math.prod(x.shape[1:])
        return (self._drawn(step, count) if x.device.type == "cpu" else self._hashed(step, count, x)).view(x.shape)

    def _drawn(self, step: int, count: int) -> Tensor:
        """On a CPU torch's generators take a quarter of the hash's time, and far less for few numbers."""
        drawn = torch.empty(len(self._seeds), -(-count // BLOCK) * BLOCK)
        for row, seed in zip(drawn, self._seeds, strict=True):
            row.normal_(generator=generator(seed, self._stream, step))
        return drawn[:, :count]

    def _hashed(self, step: int, count: int, x: Tensor) -> Tensor:
        """Off the CPU a generator's numbers would have to be copied to the device in every step."""
        return self.counters.normal(step, (count,), x.device)


def _deviation(x: Tensor, real: Tensor | None) -> Tensor:
    """Each member's standard deviation [E] over the values of its real points; x [E, B, ...], real [E, B] or None."""
    rows = x.flatten(2)
    real = torch.ones_like(rows[..., 0]) if real is None else real.to(rows.dtype)
    weights = real / real.sum(1, keepdim=True)
    mean = (rows.mean(2) * weights).sum(1)
    squares = (rows - mean[:, None, None]).square().mean(2)
    return (squares * weights).sum(1).sqrt()
