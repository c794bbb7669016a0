"""Training of an autoencoder, and the resulting code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.random import generator

Weights = dict[str, Tensor]
Progress = Callable[[int, int], None]  # called with the number of completed steps and the total


@dataclass(frozen=True)
class Code:
    """A trained encoder.

    Attributes:
        encode: map from rows to codes.
        error: mean squared error of the reconstruction, per coordinate of x, over the rows of the fit.
        pca_error: the same error for a PCA with as many coordinates.
        curve: loss of each training step [steps], for the scaled rows; empty if the code was loaded from a cache.
    """

    encode: Callable[[Tensor], Tensor]
    error: Tensor
    pca_error: Tensor
    curve: Tensor

    @property
    def linear(self) -> bool:
        """Always False."""
        return False

    @property
    def matrix(self) -> None:
        """Always None: the map is not affine."""
        return None

    def __call__(self, x: Tensor) -> Tensor:
        """Codes [..., N, dim] float64."""
        with torch.no_grad():
            return self.encode(x)


def drawn(shapes: Mapping[str, tuple[tuple[int, ...], int]], seed: int) -> Weights:
    """Draw float32 weights from N(0, 1/inputs), each from its own random stream.

    Args:
        shapes: shape and number of inputs by name.
        seed: seed of the compressor.
    """
    return {
        name: torch.randn(*shape, generator=generator(seed, f"autoencoder/{name}")) * inputs**-0.5
        for name, (shape, inputs) in shapes.items()
    }


def batches(count: int, size: int, seed: int) -> Iterator[Tensor]:
    """Endless batches of row indices; each epoch is a permutation, and an incomplete last batch is dropped."""
    epoch = 0
    while True:
        order = torch.randperm(count, generator=generator(seed, "autoencoder/batches", epoch))
        yield from order.split(size)[: max(1, count // size)]
        epoch += 1


@torch.enable_grad()
def descend(
    weights: Weights,
    reconstruct: Callable[[Weights, Tensor], Tensor],
    x: Tensor,
    batch_size: int,
    steps: int,
    lr: float,
    seed: int,
    progress: Progress | None = None,
) -> Tensor:
    """Train weights in place to minimise the mean squared reconstruction error of rows x [N, ...].

    The optimizer is Adam (Kingma and Ba 2014) with cosine decay of the learning rate to 0. `progress` is called after
    every step.

    Returns:
        The loss of each step [steps].
    """
    parameters = [value.requires_grad_() for value in weights.values()]
    optimizer = torch.optim.Adam(parameters, lr=lr)
    indices = batches(len(x), min(batch_size, len(x)), seed)
    losses = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
        batch = x[next(indices).to(x.device)]
        loss = (reconstruct(weights, batch) - batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        if progress is not None:
            progress(step + 1, steps)
    for value in parameters:
        value.requires_grad_(False)
    return torch.stack(losses)
