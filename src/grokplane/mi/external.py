"""Estimators of the `mutinfo` package (github.com/VanessB/mutinfo), for comparison; it is not part of grokplane.

The package is not on the package index and is licensed under the GPL. It is imported only if the user has installed
it, and none of its code is copied here. The adapter uses `mutinfo.estimators.knn.KSG` and `.WKL`, constructed with
`k_neighbors` and called with two NumPy arrays [N, d] and `std=True`, which return a value and its standard error in
nats. It also uses `WKL.entropy`, called likewise with one array. The repository's own tests and configs call the first
two in this way at version 2025.02.1; that both accept `std` is read from their signatures. An older release has these
names in other modules and is refused.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grokplane.mi.base import Array, Estimate, check_count, over_batch, samples
from grokplane.mi.ceiling import bounded
from grokplane.mi.entropy import nothing
from grokplane.mi.scale import at_one_scale
from grokplane.mi.ties import continuous
from grokplane.options import ConfigError, check_options, option

REMEDY = "needs the package mutinfo: pip install git+https://github.com/VanessB/mutinfo (GPL-3, 2025.02.1 or later)"


@dataclass(frozen=True)
class Mutinfo:
    """Estimate of `KSG` or `WKL` of `mutinfo.estimators.knn` for two vectors; `KSG` is never negative.

    WKL is the weighted Kozachenko-Leonenko form on raw coordinates. Scales, constant columns, duplicate rows and equal
    values are treated before the package receives the samples, as in grokplane's `KSG`. A value that is not finite is
    an error.

    Standard error: as the package returns it.
    """

    estimator: str = option("WKL", "estimator of the package", choices=("KSG", "WKL"))
    k: int = option(5, "number of neighbours", at_least=1)

    def __post_init__(self) -> None:
        check_options(self)
        package()

    def __call__(self, x: Array, y: Array) -> Estimate:
        """Mutual information in nats of x [..., N, dx] and y [..., N, dy].

        Raises:
            ValueError: for k or fewer samples, or a result that is not finite.
        """
        return over_batch(bounded(self._one, "Mutinfo"), samples(x, least=self.k + 1), samples(y, "y"))

    def _one(self, x: Tensor, y: Tensor) -> Estimate:
        x, y = continuous(x, y, full_rank=False)
        if x.shape[1] == 0 or y.shape[1] == 0:
            return nothing(x)
        check_count(len(x), self.k + 1, f"the set of distinct rows (k={self.k})")
        estimator = getattr(package(), self.estimator)(k_neighbors=self.k)
        x, y = at_one_scale(x), at_one_scale(y)
        return estimate_of(x, *estimator(x.cpu().numpy(), y.cpu().numpy(), std=True))


def package() -> Any:
    """The module `mutinfo.estimators.knn`.

    Raises:
        ConfigError: if the package is not installed or lacks a class that is used.
    """
    try:
        module = importlib.import_module("mutinfo.estimators.knn")
    except ImportError as error:
        raise ConfigError("mi", "mutinfo", f"{REMEDY} ({error})") from error
    missing = [name for name in ("KSG", "WKL") if not hasattr(module, name)]
    if missing:
        raise ConfigError("mi", "mutinfo", f"{REMEDY} (the installed version has no {' and no '.join(missing)})")
    return module


def estimate_of(like: Tensor, value: float, error: float) -> Estimate:
    """Convert the package's result to an estimate on the device of `like`.

    Raises:
        ValueError: if a number is not finite.
    """
    if not np.isfinite(value) or not np.isfinite(error):
        raise ValueError(f"mutinfo returned {value} +- {error}: x or y may have duplicate rows or constant columns")
    return Estimate(*(torch.tensor(float(part), dtype=torch.float64, device=like.device) for part in (value, error)))


GROUP = "mi/input_estimator"
CHOICES = {"mutinfo": Mutinfo}
