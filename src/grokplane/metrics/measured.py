"""A layer as its information is estimated from samples: with noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.metrics.observation import LayerOutput
from grokplane.random import generator


@dataclass(frozen=True, eq=False)
class Measured:
    """A layer of one member on one subset; float64 where its variance is a number.

    Attributes:
        noisy: its values with noise [n, d].
        variance: of that noise; NaN where the values are not finite, or too large to reckon with.
    """

    noisy: Tensor
    variance: float


@dataclass(frozen=True, eq=False)
class Sample:
    """A layer of one member on one subset as the network gave it, without padding.

    Attributes:
        values: without its own noise [n, d].
        noisy: with it [n, d]; None where it has none.
        sigma: standard deviation of that noise, 0 where there is none.
        stream: (seed, name, step) that give the numbers of noise added later.
    """

    values: Tensor
    noisy: Tensor | None
    sigma: float
    stream: tuple[int, str, int]


def not_known(error: Exception) -> str:
    """The warning about information that could not be had: what refused it, or failed unexpectedly."""
    words = str(error).partition("\n")[0]
    kind = [] if isinstance(error, ValueError) else [type(error).__name__]
    reason = ": ".join([*kind, *filter(None, [words])])
    return f"some mutual information cannot be measured and is null: {reason}"


def sample(output: LayerOutput, member: int, real: Tensor, stream: tuple[int, str, int]) -> Sample:
    """One member's part of a layer of a stack, at its points that are not padding [n]; a copy."""
    sigma = 0.0 if output.sigma is None else float(output.sigma[member])
    noisy = output.noisy[member][real].flatten(1) if sigma else None
    return Sample(output.activations[member][real].flatten(1), noisy, sigma, stream)


def measured(of: Sample, noise: float) -> Measured:
    """A layer with its noise: its own, or else relative noise that is added here.

    Args:
        of: the layer.
        noise: standard deviation of what is added, relative to that of the layer's values.
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
