"""Mutual information of a layer that is a function of the input plus Gaussian noise of known covariance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor

from grokplane.mi.base import Array, Estimate, as_tensor, labels, mean_of, over_batch, samples
from grokplane.mi.ceiling import bounded
from grokplane.mi.compress.base import Fitted
from grokplane.mi.degenerate import independent
from grokplane.mi.entropy import entropy_of, kl_terms, nothing
from grokplane.mi.ties import on_lattice
from grokplane.options import check_options, option


@dataclass(frozen=True)
class KnownNoise:
    """I(X;T) = h(T) - h(Z) for T = f(X) + Z, with Z Gaussian of known covariance and independent of X.

    Goldfeld et al. 2019, "Estimating information flow in deep neural networks" (ICML). h(Z) is exact; h(T) is the
    Kozachenko-Leonenko estimate in coordinates in which the noise is white with unit variance.

    The formula holds only if Z is all the noise in T. With noise in an earlier layer too, h(T|X) is not h(Z) (two noisy
    layers: true value 1.857, this formula 3.008). The caller therefore states whether earlier layers are noisy, and
    such a layer is refused. A linear map A may compress T: then I(X; A T) = h(A T) - h(A Z), with covariance A C A',
    which is at most I(X;T). A nonlinear compressor is refused, because the noise in its code is not Gaussian.
    Directions that the compressor dropped are left out.

    The error is about .02 nats if the noise is not far below the distance between samples, and .1 to .6 otherwise. The
    estimate has no upper bound: if rows are far apart relative to the noise, it grows with the logarithm of their
    distance and exceeds ln N. A warning reports this; such a value is correct only for continuous X (for N known
    inputs `KDE` gives bounds). In many coordinates h(T) needs a number of samples exponential in their number:
    compress first.

    Standard error: standard deviation of the terms of h(T) over the square root of N; h(Z) is exact.

    Attributes:
        covariance: covariance of the noise in the coordinates of T [D, D], its diagonal [D], or one variance for all.
        noise_upstream: whether any layer before T is noisy too. True is refused.
        compressor: fitted map that is applied to T before the estimate; None uses T itself.
        k: number of the neighbour.
    """

    covariance: Tensor | float
    noise_upstream: bool = False
    compressor: Fitted | None = None
    k: int = option(3, "k-th nearest neighbour", at_least=1)

    def __post_init__(self) -> None:
        check_options(self)
        if self.noise_upstream:
            raise ValueError("noise enters upstream of the layer: h(T) - h(noise) is not its information")
        if self.compressor is not None and not self.compressor.linear:
            raise ValueError("the compressor is not linear: noise is not Gaussian in its code")

    def __call__(self, x: Array, y: Array) -> Estimate:
        """Mutual information in nats, with the leading axes of y.

        Args:
            x: samples of the input [..., N, dx], or labels [..., N] that identify it. The formula assumes that T - Z is
                a function of x. Only N is used, and the entropy of x as an upper bound of the value.
            y: the noisy layer [..., N, D] before compression.

        Raises:
            ValueError: if the covariance has another shape or is not positive definite, if the layer varies in fewer
                directions than its noise or lies on a lattice, or for k + 1 or fewer rows.
        """
        x, y = as_tensor(x), samples(y, "y", least=self.k + 2)
        x = x if x.is_floating_point() else labels(x, "x")
        count = (samples(x) if x.is_floating_point() else x.unsqueeze(-1)).shape[-2]
        if count != y.shape[-2]:
            raise ValueError(f"x has {count} samples, y has {y.shape[-2]}: must be pairs")
        if on_lattice(y):
            raise ValueError("y lies on a lattice: its noise is not Gaussian; pass y before it is rounded")
        mixing, layer = self._factor(y), y
        if self.compressor is not None:
            mixing, layer = cast(Tensor, self.compressor.matrix) @ mixing, self.compressor(y)
        mixing = mixing.mT.expand(*layer.shape[:-2], -1, -1)
        # Concatenate each layer's rows and its noise mixing, so that `over_batch` pairs them over the leading axes.
        return over_batch(lambda both: self._bounded(x, both[:count], both[count:].T), torch.cat([layer, mixing], -2))

    def _bounded(self, x: Tensor, layer: Tensor, mixing: Tensor) -> Estimate:
        side = x if x.dim() == 1 + x.is_floating_point() else layer  # with leading axes, the x of this layer is unknown
        return bounded(lambda _: self._one(layer, mixing), "KnownNoise")(side)

    def _factor(self, y: Tensor) -> Tensor:
        """L with L L' = covariance [D, D]."""
        dims = y.shape[-1]
        given = torch.as_tensor(self.covariance, dtype=y.dtype, device=y.device)
        full = given if given.dim() == 2 else torch.diag(given.expand(dims) if given.dim() == 0 else given)
        if full.shape != (dims, dims):
            raise ValueError(f"the covariance is {list(given.shape)}: must be for {dims} coordinates")
        factor, failed = torch.linalg.cholesky_ex(full)
        if bool(failed) or not torch.isfinite(full).all() or not torch.equal(full, full.mT):
            raise ValueError("the covariance is not symmetric and positive definite")
        return factor

    def _one(self, layer: Tensor, mixing: Tensor) -> Estimate:
        """Estimate for a layer [N, d] whose noise is `mixing` [d, D] times white noise of variance 1."""
        kept = (mixing != 0).any(1)
        if not kept.any():
            return nothing(layer)
        triangle = torch.linalg.qr(mixing[kept].T, mode="r").R.T
        white = torch.linalg.solve_triangular(triangle, layer[:, kept].T, upper=False).T
        dims = white.shape[1]
        if independent(white, "y").shape[1] < dims:
            raise ValueError("y varies in fewer directions than its noise: y must include the noise")
        terms = entropy_of(white, partial(kl_terms, k=self.k), False).terms
        return mean_of(terms - dims / 2 * math.log(2 * math.pi * math.e))
