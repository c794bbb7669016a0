"""Low-dimensional codes of continuous inputs, for estimates from samples."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from grokplane.mi import PCA, ConvAutoencoder

log = logging.getLogger(__name__)

CODES = ("autoencoder", "pca")
FEW = 8  # vectors of up to this length are used without a code

Encoder = Callable[[Tensor], Tensor]
Progress = Callable[[int, int], None]


def encoder(
    kind: str, dim: int, steps: int, cache: Path, population: Callable[[], Tensor], progress: Progress | None
) -> Encoder:
    """Make the map from inputs [N, ...] to codes [N, dim] float64.

    Vectors of at most 8 numbers are unchanged. Longer vectors, and images with `kind="pca"`, are mapped to principal
    components. Other images are mapped to the code of a convolutional autoencoder, whose weights are stored in `cache`.

    Args:
        kind: kind of code for images, one of CODES.
        dim: length of a code.
        steps: number of training steps of the autoencoder.
        cache: folder for the weights.
        population: returns all inputs of the kind, to which the code is fitted.
        progress: called with (done, steps) while the autoencoder is trained.
    """
    inputs = population()
    if inputs.dim() == 2 and inputs.shape[1] <= FEW:
        return lambda x: x.double()
    if inputs.dim() == 2 or kind == "pca":
        code = PCA(dim).fit(inputs.flatten(1))
        return lambda x: code(x.flatten(1))
    return _autoencoder(dim, steps, cache, inputs, progress)


def _autoencoder(dim: int, steps: int, cache: Path, images: Tensor, progress: Progress | None) -> Encoder:
    code = ConvAutoencoder(dim=dim, steps=steps).fit(images, cache, progress)
    spread = float(images.double().var(correction=0))
    log.info(
        "code of %d numbers for %s images: the autoencoder loses %.3f of their variance, PCA %.3f",
        *(dim, f"{len(images):,}", float(code.error) / spread, float(code.pca_error) / spread),
    )
    return code
