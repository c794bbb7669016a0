"""Kernels of points [E, P, P]: their change and their alignment. Padding has rows and columns of zeros."""

from __future__ import annotations

import torch
from torch import Tensor


def norm(kernel: Tensor) -> Tensor:
    """Frobenius norm [E] in float64."""
    return torch.linalg.vector_norm(kernel.flatten(1), dim=1, dtype=torch.float64)


def alignment(one: Tensor, other: Tensor) -> Tensor:
    """Cosine [E] of two kernels as vectors (Cristianini et al. 2001), in float64; NaN if either is zero.

    For two centred kernels this is centred kernel alignment, CKA (Cortes et al. 2012; Kornblith et al. 2019).
    """
    products = (one.flatten(1).double() * other.flatten(1)).sum(1)
    return products / norm(one) / norm(other)


def centred(kernel: Tensor, mask: Tensor) -> Tensor:
    """The kernel H K H of features from which the mean over the points of a mask [E, P] is subtracted."""
    real = mask.to(kernel.dtype)
    share = real / real.sum(1, keepdim=True)
    rows = torch.einsum("eij,ej->ei", kernel, share)
    columns = torch.einsum("eij,ei->ej", kernel, share)
    whole = (rows * share).sum(1)
    found = kernel - rows[:, :, None] - columns[:, None, :] + whole[:, None, None]
    return found * real[:, :, None] * real[:, None, :]


def feature_kernel(features: Tensor, mask: Tensor) -> Tensor:
    """The centred kernel [E, P, P] of features [E, P, F] on the points of a mask [E, P].

    The mean is subtracted before the product, because a mean that is large relative to the deviation would cancel.
    """
    real = mask.unsqueeze(2)
    features = torch.where(real, features, 0)
    mean = features.sum(1, keepdim=True) / real.sum(1, keepdim=True)
    features = torch.where(real, features - mean, 0)
    return torch.bmm(features, features.mT)


def label_kernel(labels: Tensor, mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The centred kernel [E, P, P] of the one-hot codes of labels [E, P]: 1 where two labels are equal."""
    return centred((labels[:, :, None] == labels[:, None, :]).to(dtype), mask)
