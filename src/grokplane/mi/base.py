"""The interface of all estimators of mutual information: results, input checks, leading axes.

An estimator is a frozen dataclass that is called as `estimator(x, y)`. `x` is [..., N, dx]; `y` is [..., N, dy] or
integer labels [..., N] or [N, 1]. Both are tensors or NumPy arrays. Leading axes broadcast and are kept. Computation
is in float64. Results are tensors in nats. They are not clamped, so they can be negative.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from grokplane.random import generator

Array = Tensor | np.ndarray
LARGEST = 1e100  # the squared distance of larger values overflows float64


class Estimate(NamedTuple):
    """An estimate in nats and its standard error, both float64 with the leading axes of the input."""

    value: Tensor
    std_error: Tensor


class Estimator(Protocol):
    """A callable that estimates the mutual information of paired samples."""

    def __call__(self, x: Tensor, y: Tensor) -> Estimate:
        """Mutual information of `x` [..., N, dx] and `y` [..., N, dy] or labels [..., N]."""
        ...


class HalfCheck(NamedTuple):
    """An estimate on the full sample and the mean of the estimates on two disjoint halves (see `half_check`)."""

    full: Estimate
    half: Estimate
    drift: Tensor
    consistent: Tensor


def as_tensor(x: Array, name: str = "x") -> Tensor:
    """Convert an array to a tensor; return a tensor unchanged.

    Arrays are copied, because torch accepts neither read-only arrays nor negative strides.

    Raises:
        ValueError: if the array is not numeric or has masked values.
    """
    if isinstance(x, Tensor):
        return x
    if np.ma.is_masked(x):
        raise ValueError(f"{name} has masked values: must be complete")
    array = np.array(x)
    if array.dtype == object:  # its entries may be numbers
        array = np.array(array.tolist())
    if array.dtype == np.longdouble:
        array = array.astype(np.float64)
    try:
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    except TypeError:
        raise ValueError(f"{name} is an array of {array.dtype}: must hold numbers") from None


def samples(x: Array, name: str = "x", least: int = 2) -> Tensor:
    """Check samples and convert them to float64.

    Args:
        x: [..., N, d], any real dtype, tensor or array.
        name: the name used in error messages.
        least: smallest N allowed.

    Raises:
        ValueError: for fewer than two axes, no columns, fewer than `least` rows, or values that are not finite
            or exceed 1e100 in size.
    """
    x = as_tensor(x, name)
    if x.dim() < 2:
        raise ValueError(f"{name} has shape {list(x.shape)}: must be [..., samples, dimensions]")
    if x.is_complex():
        raise ValueError(f"{name} is complex: must be real")
    if x.shape[-1] < 1:
        raise ValueError(f"{name} has no columns: must have at least 1")
    check_count(x.shape[-2], least, name)
    x = x.detach().to(torch.float64)
    if not bool(torch.isfinite(x).all()):
        raise ValueError(f"{name} holds NaN or infinity: must be finite")
    if x.numel() and float(x.abs().amax()) > LARGEST:
        raise ValueError(f"{name} holds values beyond {LARGEST:g}: rescale it")
    return x


def labels(y: Array, name: str = "y", least: int = 2) -> Tensor:
    """Check integer labels [..., N] and convert them to int64; a column [..., N, 1] becomes [..., N].

    Raises:
        ValueError: for a dtype other than integer or bool, no axis, or fewer than `least` labels.
    """
    y = as_tensor(y, name)
    if y.dim() > 1 and y.shape[-1] == 1:
        y = y.squeeze(-1)
    if y.is_floating_point() or y.is_complex() or y.dim() < 1:
        raise ValueError(f"{name} is {y.dtype} of shape {list(y.shape)}: must be integer labels [..., samples]")
    check_count(y.shape[-1], least, name)
    return y.detach().to(torch.int64)


def check_count(count: int, least: int, name: str) -> None:
    """Check that there are at least `least` samples.

    Raises:
        ValueError: if there are fewer.
    """
    if count < least:
        raise ValueError(f"{name} has {count} samples: must have at least {least}")


def over_batch(
    one: Callable[..., Estimate], x: Tensor, y: Tensor | None = None, *, events: tuple[int, int] = (2, 2)
) -> Estimate:
    """Apply an estimator of one sample set to every element of the leading axes.

    Args:
        one: takes one [N, dx] (and one [N, dy] or [N]) and returns scalars.
        x, y: samples whose leading axes broadcast; `y` is optional.
        events: number of trailing axes of `x` and `y` that form one sample set (2, or 1 for labels).

    Raises:
        ValueError: if `x` and `y` have different numbers of samples, or their leading axes do not broadcast.
    """
    given = [x] if y is None else [x, y]
    counts = [tensor.shape[-axes] for tensor, axes in zip(given, events, strict=False)]
    if len(set(counts)) > 1:
        raise ValueError(f"x has {counts[0]} samples, y has {counts[1]}: must be pairs")
    leads = [tensor.shape[: tensor.dim() - axes] for tensor, axes in zip(given, events, strict=False)]
    try:
        lead = torch.broadcast_shapes(*leads)
    except RuntimeError:
        raise ValueError(f"leading axes {' and '.join(str(list(axes)) for axes in leads)} do not broadcast") from None
    flat = [
        tensor.expand(*lead, *tensor.shape[-axes:]).reshape(-1, *tensor.shape[-axes:])
        for tensor, axes in zip(given, events, strict=False)
    ]
    results = [one(*parts) for parts in zip(*flat, strict=True)]
    if not results:
        return Estimate(*(torch.empty(lead, dtype=torch.float64, device=x.device) for _ in range(2)))
    return Estimate(*(torch.stack(list(part)).reshape(lead) for part in zip(*results, strict=True)))


def mean_of(terms: Tensor, spread: Tensor | None = None) -> Estimate:
    """Mean of per-sample terms [N] and its standard error: the sample standard deviation over the square root of N.

    Args:
        terms: one number per sample, with all parts of the estimate combined, so that the standard error includes
            their covariance.
        spread: terms whose standard deviation is used instead, if they differ from the averaged terms.
    """
    source = terms if spread is None else spread
    error = source.std() / source.numel() ** 0.5 if source.numel() > 1 else source.new_zeros(())
    return Estimate(terms.mean(), error)


def half_check(estimator: Estimator, x: Array, y: Array, seed: int = 0) -> HalfCheck:
    """Compare an estimate on n samples with one on n/2 samples (arXiv 2506.00330).

    If the sample is large enough, half of it gives the same value. `half` is the mean over two disjoint random halves,
    `drift` is full minus half, and `consistent` says whether the drift is within two standard errors of the full
    estimate. The check detects an estimate that still changes with n. It cannot detect a bias that does not.

    Args:
        estimator: any estimator, for vectors or labels.
        x, y: as `estimator` takes them.
        seed: seed of the random halves, which are the same for all leading axes.
    """
    x, y = as_tensor(x), as_tensor(y, "y")
    full = estimator(x, y)
    axes = _sample_axes(x, y, full.value.shape)
    count = x.shape[axes[0]]
    order = torch.randperm(count, generator=generator(seed, "half check"))
    halves = [rows.sort().values for rows in (order[: count // 2], order[count // 2 :])]
    parts = [estimator(_rows(x, axes[0], rows), _rows(y, axes[1], rows)) for rows in halves]
    half = Estimate((parts[0].value + parts[1].value) / 2, torch.hypot(parts[0].std_error, parts[1].std_error) / 2)
    drift = full.value - half.value
    return HalfCheck(full, half, drift, drift.abs() <= 2 * full.std_error)


def _sample_axes(x: Tensor, y: Tensor, lead: torch.Size) -> tuple[int, int]:
    """Find the sample axes of x and y: those for which the leading axes match an estimate of shape `lead`.

    The dtype does not decide, because integers can be labels or vectors.
    """
    for of_x, of_y in itertools.product((-1, -2), repeat=2):
        if x.dim() >= -of_x and y.dim() >= -of_y and x.shape[of_x] == y.shape[of_y]:
            with contextlib.suppress(RuntimeError):  # they do not broadcast
                if torch.broadcast_shapes(x.shape[:of_x], y.shape[:of_y]) == lead:
                    return of_x, of_y
    raise ValueError(f"shape {list(lead)} of an estimate does not fit x {list(x.shape)} and y {list(y.shape)}")


def _rows(x: Tensor, axis: int, rows: Tensor) -> Tensor:
    return x.index_select(x.dim() + axis, rows.to(x.device))
