"""How a frame's information was measured: the resolution or the noise that makes it finite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

RELATIVE = " x its deviation"
RESOLUTION = "mi.resolution"
# What is read of a run's config.
KEYS = (RESOLUTION, "mi.noise", "model.noise_sigma", "model.noise_in", "model.noise_scale")


def measured(config: Mapping[str, Any]) -> str:
    """How the layers' information is made finite, in words; empty where nothing is said of it.

    Args:
        config: a run's config, nested, or flat with dotted keys as in a row of `grokplane.record.load`.
    """
    resolution = _positive(config, RESOLUTION)
    if resolution:
        return f"resolution r = {resolution:g}: noise {resolution:g} x the layer's spread"
    sigma = _positive(config, "model.noise_sigma")
    if sigma and value(config, "model.noise_in") != "train":
        scale = RELATIVE if value(config, "model.noise_scale") == "relative" else ""
        return f"each layer with noise of sigma = {sigma:g}{scale}"
    added = _positive(config, "mi.noise")
    return f"each layer measured with noise of sigma = {added:g}{RELATIVE}" if added else ""


def frame_measured(rows: pd.DataFrame) -> tuple[str, float]:
    """The words of a frame's runs, and the plane's resolution: NaN where information was not measured at one.

    Args:
        rows: columns `KEYS`, those of the config that there are.

    Raises:
        ValueError: if its runs differ in this; no mean over them means anything.
    """
    configs = [dict(row) for _, row in rows.reindex(columns=list(KEYS)).drop_duplicates().iterrows()]
    found = {measured(config): _positive(config, RESOLUTION) for config in configs if measured(config)}
    if len(found) > 1:
        raise ValueError(f"runs measured in different ways cannot be put together: {'; '.join(map(repr, found))}")
    words, resolution = next(iter(found.items()), ("", 0.0))
    return words, resolution or float("nan")


def value(config: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key in a flat or nested config; None if it has none."""
    if key in config:
        return config[key]
    first, _, rest = key.partition(".")
    part = config.get(first)
    return value(part, rest) if rest and isinstance(part, Mapping) else None


def _positive(config: Mapping[str, Any], key: str) -> float:
    """A number of the config; 0 for what is absent, null or NaN."""
    number = value(config, key)
    return float(number) if number is not None and number > 0 else 0.0
