"""A layer with noise, as used for estimates of its information from samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.metrics.observation import LayerOutput
from grokplane.random import generator


@dataclass(frozen=True, eq=False)
class Measured:
    """A noisy layer of one member on one subset; float64 unless its variance is NaN.

    Attributes:
        noisy: values with noise [n, d].
        variance: variance of the noise; NaN if the values are not finite or their deviation overflows.
    """

    noisy: Tensor
    variance: float


@dataclass(frozen=True, eq=False)
class Sample:
    """The output of a layer of one member on one subset, without padding.

    Attributes:
        values: values without the model's noise [n, d].
        noisy: values with the model's noise [n, d]; None if the layer has none.
        sigma: standard deviation of the model's noise, 0 if the layer has none.
        stream: (seed, name, step) of the random stream for noise that is added later.
    """

    values: Tensor
    noisy: Tensor | None
    sigma: float
    stream: tuple[int, str, int]


def not_known(error: Exception) -> str:
    """The warning about information that could not be measured, with the reason."""
    words = str(error).partition("\n")[0]
    kind = [] if isinstance(error, ValueError) else [type(error).__name__]
    reason = ": ".join([*kind, *filter(None, [words])])
    return f"some mutual information cannot be measured and is null: {reason}"


def sample(output: LayerOutput, member: int, real: Tensor, stream: tuple[int, str, int]) -> Sample:
    """Copy one member's part of a layer of a stack, at the points selected by the mask `real` [padded n]."""
    sigma = 0.0 if output.sigma is None else float(output.sigma[member])
    noisy = output.noisy[member][real].flatten(1) if sigma else None
    return Sample(output.activations[member][real].flatten(1), noisy, sigma, stream)


def measured(of: Sample, noise: float) -> Measured:
    """Return a layer with the model's noise or, if it has none, with added Gaussian noise.

    Args:
        of: the layer.
        noise: standard deviation of the added noise, relative to that of the layer's values.
    """
    values, noisy = of.values, of.values if of.noisy is None else of.noisy
    sigma = of.sigma or noise * float(values.double().std(correction=0))
    if not (math.isfinite(sigma) and bool(torch.isfinite(noisy).all())):
        return Measured(noisy, math.nan)
    if of.noisy is not None:
        return Measured(noisy.double(), sigma**2)
    centres, (seed, name, step) = values.double(), of.stream
    drawn = torch.randn(centres.shape, generator=generator(seed, f"mi/{name}", step))
    return Measured(torch.add(centres, drawn.to(centres), alpha=sigma), sigma**2)
