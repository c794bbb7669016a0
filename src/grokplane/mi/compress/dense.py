"""A dense autoencoder for the activations of one layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import gelu

from grokplane.mi.base import samples
from grokplane.mi.compress.fitting import Code, descend, drawn
from grokplane.mi.compress.pca import PCA
from grokplane.options import check_options, option


@dataclass(frozen=True)
class DenseAutoencoder:
    """D -> hidden -> dim -> hidden -> D with GELU between, trained with Adam on the mean squared error.

    The rows are centred and divided by one common scale; training runs in float32, the codes come as float64. Leading
    axes are trained at once, each with weights and batches of its own that the seed alone determines. For layers whose
    activations lie near a curved surface; on those that lie near a plane PCA is as good and takes no time. The code is
    not a linear map, so known noise is not Gaussian in it.

    Kramer 1991, "Nonlinear principal component analysis using autoassociative neural networks".
    """

    dim: int = option(4, "coordinates of the code", at_least=1)
    hidden: int = option(64, "width of the hidden layers", at_least=1)
    steps: int = option(1000, "training steps", at_least=1)
    batch_size: int = option(256, "rows a step", at_least=1)
    lr: float = option(1e-2, "largest learning rate, cosine to 0", above=0)
    seed: int = option(0, "seed of weights and batches", at_least=0)

    def __post_init__(self) -> None:
        check_options(self)

    def fit(self, x: Tensor) -> Code:
        """Train on rows x [..., N, D]."""
        x = samples(x)
        flat = x.reshape(-1, *x.shape[-2:])
        mean = flat.mean(1, keepdim=True)
        scale = _spread(flat - mean)
        small = ((flat - mean) / scale).float()
        weights = self._weights(len(flat), x.shape[-1], x.device)
        curve = descend(weights, reconstruct, small, self.batch_size, self.steps, self.lr, self.seed)
        losses = (reconstruct(weights, small) - small).double().square().mean((1, 2)) * scale.square().flatten()

        def encode(new: Tensor) -> Tensor:
            # One at a time over the leading axes, so that a code does not depend on its neighbours in the batch.
            batch = (samples(new, least=1).reshape(-1, *new.shape[-2:]) - mean) / scale
            return _encode(weights, batch.float()).double().reshape(*new.shape[:-1], self.dim)

        pca_error = PCA(self.dim).fit(x).error
        return Code(encode, losses.reshape(x.shape[:-2]), pca_error, curve)

    def _weights(self, count: int, columns: int, device: torch.device) -> dict[str, Tensor]:
        shapes = {
            "in": (columns, self.hidden),
            "code": (self.hidden, self.dim),
            "out": (self.dim, self.hidden),
            "rows": (self.hidden, columns),
        }
        weights = drawn({name: ((), shape, shape[0]) for name, shape in shapes.items()}, self.seed)
        weights |= {f"{name}_bias": torch.zeros(1, shape[1]) for name, shape in shapes.items()}
        return {name: value.expand(count, *value.shape).clone().to(device) for name, value in weights.items()}


def _spread(centred: Tensor) -> Tensor:
    """Root mean square over rows and columns [B, 1, 1]; 1 where all rows are equal."""
    largest = centred.abs().amax((1, 2), keepdim=True)
    largest = torch.where(largest > 0, largest, 1)
    size = (centred / largest).square().mean((1, 2), keepdim=True).sqrt() * largest
    return torch.where(size > 0, size, 1)


def _encode(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    hidden = gelu(torch.baddbmm(weights["in_bias"], x, weights["in"]))
    return torch.baddbmm(weights["code_bias"], hidden, weights["code"])


def reconstruct(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """The decoded code of rows [B, N, D], weights [B, in, out]."""
    hidden = gelu(torch.baddbmm(weights["out_bias"], _encode(weights, x), weights["out"]))
    return torch.baddbmm(weights["rows_bias"], hidden, weights["rows"])
