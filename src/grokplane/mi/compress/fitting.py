"""How an autoencoder is trained, and what it gives back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.random import generator

Weights = dict[str, Tensor]
Progress = Callable[[int, int], None]  # told the steps done and the steps in all


@dataclass(frozen=True)
class Code:
    """A trained encoder.

    Attributes:
        encode: rows to codes.
        error: mean squared error of the reconstruction, per coordinate of x, over the rows of the fit.
        pca_error: the same of a PCA with as many coordinates.
        curve: the loss of each training step [steps], of the scaled rows; empty for a code that came from a cache.
    """

    encode: Callable[[Tensor], Tensor]
    error: Tensor
    pca_error: Tensor
    curve: Tensor

    @property
    def linear(self) -> bool:
        """Never."""
        return False

    @property
    def matrix(self) -> None:
        """There is none."""
        return None

    def __call__(self, x: Tensor) -> Tensor:
        """Codes [..., N, dim] float64."""
        with torch.no_grad():
            return self.encode(x)


def drawn(shapes: Mapping[str, tuple[tuple[int, ...], int]], seed: int) -> Weights:
    """Float32 weights N(0, 1/in), each from a stream of its own.

    Args:
        shapes: by name the axes and the number of inputs.
        seed: the choice's seed.
    """
    return {
        name: torch.randn(*shape, generator=generator(seed, f"autoencoder/{name}")) * inputs**-0.5
        for name, (shape, inputs) in shapes.items()
    }


def batches(count: int, size: int, seed: int) -> Iterator[Tensor]:
    """Row indices without end, each epoch a permutation; what is left over at an epoch's end is dropped."""
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
    """Train weights in place on rows x [N, ...] to reconstruct them with the least mean squared error.

    Adam (Kingma and Ba 2014) with a learning rate that falls as a cosine to 0. `progress` is told after every step.

    Returns:
        the loss of each step [steps].
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
