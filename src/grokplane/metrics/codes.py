"""Continuous input in few enough numbers for estimates from samples."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from grokplane.mi import PCA, ConvAutoencoder

log = logging.getLogger(__name__)

CODES = ("autoencoder", "pca")
FEW = 8  # vectors of up to so many numbers are taken as they are

Encoder = Callable[[Tensor], Tensor]
Progress = Callable[[int, int], None]


def encoder(
    kind: str, dim: int, steps: int, cache: Path, population: Callable[[], Tensor], progress: Progress | None
) -> Encoder:
    """What turns inputs [N, ...] into codes [N, dim] float64.

    Vectors of at most 8 numbers stay what they are; longer ones, and images if asked, become principal components;
    images become the code of a convolutional autoencoder, whose weights are kept in `cache`.

    Args:
        kind: of CODES, for images.
        dim: numbers in a code.
        steps: training steps of the autoencoder.
        cache: folder.
        population: gives the inputs that a code is fitted to: all there are of the kind, so that it is fitted once.
        progress: told (done, steps) while the autoencoder is trained.
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
        "%d numbers for each of %s images: the autoencoder loses %.3f of their variance, PCA %.3f",
        *(dim, f"{len(images):,}", float(code.error) / spread, float(code.pca_error) / spread),
    )
    return code
