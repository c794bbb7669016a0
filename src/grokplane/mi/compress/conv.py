"""A convolutional autoencoder for images, trained once per data set and cached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, gelu

from grokplane.mi.base import check_count, samples
from grokplane.mi.compress.cache import content_key, load_weights, save
from grokplane.mi.compress.fitting import Code, Progress, Weights, descend, drawn
from grokplane.options import check_options, option

PART = 1000  # images per chunk
LAYOUT = 1  # part of the cache key; increase it if the layout of the weights changes


@dataclass(frozen=True)
class ConvAutoencoder:
    """Convolutional autoencoder: two 4x4 convolutions of stride 2, dense layers and a mirrored decoder, with GELU.

    It takes square images of one channel whose side is a multiple of 4 (28x28, 8x8), as [N, side, side] or as rows
    [N, side^2]; other shapes are refused. Images are centred by one common mean and divided by one common standard
    deviation. Training is in float32; codes are float64. The code is a nonlinear map.

    Compression before the estimate: Butakov et al. 2024 (arXiv 2305.08013). The information of the code is a lower
    bound of the information of the image; compare `error` with `pca_error` to see how much the code may lose.
    """

    dim: int = option(4, "coordinates of the code", at_least=1)
    channels: int = option(8, "channels of the first convolution; the second has twice as many", at_least=1)
    steps: int = option(1000, "number of training steps", at_least=1)
    batch_size: int = option(256, "images per training step", at_least=1)
    lr: float = option(5e-3, "initial learning rate, with cosine decay to 0", above=0)
    seed: int = option(0, "seed of the weights and the batches", at_least=0)

    def __post_init__(self) -> None:
        check_options(self)

    def fit(self, x: Tensor, cache: Path | None = None, progress: Progress | None = None) -> Code:
        """Train on images, or load the weights of an earlier fit to the same images with the same settings.

        Args:
            x: [N, side, side] or [N, side^2].
            cache: folder of the weights, created if absent; the file name is the SHA-256 of images and settings.
                A folder that cannot be used gives a warning.
            progress: called with (done, steps) after every training step.
        """
        images = _images(x, least=2)
        path = None if cache is None else cache / f"{content_key(images, {**asdict(self), 'layout': LAYOUT})}.pt"
        known = None if path is None else load_weights(path, self._stored(images.shape[-1]), images.device)
        if known is not None:
            return self._code(known, torch.empty(0))
        state, curve = self._train(images, progress)
        if path is not None:
            save(path, state)
        return self._code(state, curve)

    def _train(self, images: Tensor, progress: Progress | None) -> tuple[Weights, Tensor]:
        """Train; return weights, scale and errors as one dict of tensors, and the loss curve."""
        mean = images.mean(dtype=torch.float64)
        squares = torch.stack([(part - mean).square().sum() for part in _parts(images)])
        spread = (squares.sum() / images.numel()).sqrt()
        spread = torch.where(spread > 0, spread, 1)
        small = torch.cat([((part - mean) / spread).float() for part in _parts(images)])
        weights = {name: value.to(images.device) for name, value in self._weights(images.shape[-1]).items()}

        curve = descend(weights, _reconstruct, small, self.batch_size, self.steps, self.lr, self.seed, progress)
        losses = [(_reconstruct(weights, part) - part).double().square().sum() for part in small.split(PART)]
        error = torch.stack(losses).sum() / small.numel() * spread.square()
        errors = {"error": error, "pca_error": _pca_error(images.flatten(1), self.dim)}
        return weights | {"mean": mean, "spread": spread} | errors, curve

    def _stored(self, side: int) -> Weights:
        """Tensors with the names, shapes and dtypes of those that `_train` returns."""
        numbers = torch.empty((), dtype=torch.float64)
        return self._weights(side) | dict.fromkeys(("mean", "spread", "error", "pca_error"), numbers)

    def _weights(self, side: int) -> Weights:
        one, two, inner = self.channels, 2 * self.channels, 2 * self.channels * (side // 4) ** 2
        wide = 8 * self.channels
        shapes = {
            "conv1": ((one, 1, 4, 4), 16),
            "conv2": ((two, one, 4, 4), 16 * one),
            "dense": ((inner, wide), inner),
            "code": ((wide, self.dim), wide),
            "code_back": ((self.dim, wide), self.dim),
            "dense_back": ((wide, inner), wide),
            "conv2_back": ((two, one, 4, 4), 4 * two),
            "conv1_back": ((one, 1, 4, 4), 4 * one),
        }
        weights = drawn(shapes, self.seed)
        widths = {"conv1": one, "conv2": two, "dense": wide, "code": self.dim, "code_back": wide, "dense_back": inner}
        widths |= {"conv2_back": one, "conv1_back": 1}
        return weights | {f"{name}_bias": torch.zeros(width) for name, width in widths.items()}

    def _code(self, state: Weights, curve: Tensor) -> Code:
        def encode(x: Tensor) -> Tensor:
            batches = ((part - state["mean"]) / state["spread"] for part in _parts(_images(x)))
            return torch.cat([_encode(state, batch.float()) for batch in batches]).double()

        return Code(encode, state["error"], state["pca_error"], curve)


def _images(x: Tensor, least: int = 1) -> Tensor:
    """Check images and return them as [N, side, side]; integers become float32, floating dtypes are kept.

    Raises:
        ValueError: if x does not hold square images whose side is a multiple of 4.
    """
    side = round(x.shape[-1] ** 0.5) if x.dim() == 2 else x.shape[-1]
    if x.dim() not in (2, 3) or side % 4 or x.shape[1:].numel() != side**2:
        raise ValueError(f"x has shape {list(x.shape)}: must be square images, the side a multiple of 4")
    check_count(len(x), least, "x")
    images = (x if x.is_floating_point() else x.float()).detach().reshape(len(x), side, side)
    for part in _parts(images):
        samples(part.flatten(1), least=1)
    return images


def _parts(images: Tensor) -> Iterator[Tensor]:
    """Chunks of images in float64; a whole data set in float64 would take gigabytes."""
    return (part.double() for part in images.split(PART))


def _pca_error(x: Tensor, dim: int) -> Tensor:
    """Mean squared error per coordinate of the reconstruction of rows x [N, D] from `dim` principal components."""
    mean = x.mean(0, dtype=torch.float64)
    scatter = torch.stack([(part - mean).mT @ (part - mean) for part in _parts(x)]).sum(0)
    return torch.linalg.eigvalsh(scatter)[:-dim].clamp_min(0).sum() / x.numel()


def _encode(w: Weights, x: Tensor) -> Tensor:
    x = gelu(conv2d(x[:, None], w["conv1"], w["conv1_bias"], stride=2, padding=1))
    x = gelu(conv2d(x, w["conv2"], w["conv2_bias"], stride=2, padding=1))
    x = gelu(x.flatten(1) @ w["dense"] + w["dense_bias"])
    return x @ w["code"] + w["code_bias"]


def _reconstruct(w: Weights, x: Tensor) -> Tensor:
    side, channels = x.shape[-1] // 4, w["conv2"].shape[0]
    back = gelu(_encode(w, x) @ w["code_back"] + w["code_back_bias"])
    back = gelu(back @ w["dense_back"] + w["dense_back_bias"]).view(-1, channels, side, side)
    back = gelu(conv_transpose2d(back, w["conv2_back"], w["conv2_back_bias"], stride=2, padding=1))
    return conv_transpose2d(back, w["conv1_back"], w["conv1_back_bias"], stride=2, padding=1)[:, 0]
