"""Estimates by the `mutinfo` package (github.com/VanessB/mutinfo), for comparison; it is no part of grokplane.

It is not on the package index and stands under the GPL, so it is imported where the user has installed it and nothing
of it is copied here. What is used of it: `mutinfo.estimators.knn.KSG` and `.WKL`, made with `k_neighbors`, called
with two NumPy arrays [N, d] and `std=True` for a value and its standard error in nats, and `WKL.entropy` likewise with
one array. Its repository's own tests and configs use the first two so at version 2025.02.1; that both take `std` is
read from their signatures, no run of the real package confirms it here. An older release has the same names in other
places and is refused.
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
    """What `KSG` (which never returns less than 0) or `WKL` of `mutinfo.estimators.knn` gives for two vectors.

    WKL is the weighted Kozachenko-Leonenko form on raw coordinates. Scales, constant columns, repeated rows and equal
    values are seen to before the package gets the samples, as for our `KSG`. A value that is not finite is an error.

    Standard error: that of the package.
    """

    estimator: str = option("WKL", "the package's estimator", choices=("KSG", "WKL"))
    k: int = option(5, "neighbours", at_least=1)

    def __post_init__(self) -> None:
        check_options(self)
        package()

    def __call__(self, x: Array, y: Array) -> Estimate:
        """Nats, for x [..., N, dx] and y [..., N, dy].

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
        ConfigError: where it is not installed, or lacks what is used of it.
    """
    try:
        module = importlib.import_module("mutinfo.estimators.knn")
    except ImportError as error:
        raise ConfigError("mi", "mutinfo", f"{REMEDY} ({error})") from error
    missing = [name for name in ("KSG", "WKL") if not hasattr(module, name)]
    if missing:
        raise ConfigError("mi", "mutinfo", f"{REMEDY} (the one installed has no {' and no '.join(missing)})")
    return module


def estimate_of(like: Tensor, value: float, error: float) -> Estimate:
    """The package's numbers as an estimate on the device of `like`.

    Raises:
        ValueError: if one is not finite.
    """
    if not np.isfinite(value) or not np.isfinite(error):
        raise ValueError(f"mutinfo gave {value} +- {error}: the samples may hold duplicate rows or constant columns")
    return Estimate(*(torch.tensor(float(part), dtype=torch.float64, device=like.device) for part in (value, error)))


GROUP = "mi/input_estimator"
CHOICES = {"mutinfo": Mutinfo}
