"""How the information of a frame was measured: the resolution or the noise that makes it finite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

RELATIVE = " x its deviation"
RESOLUTION = "mi.resolution"
# Keys of a run's config that this module reads.
KEYS = (RESOLUTION, "mi.noise", "model.noise_sigma", "model.noise_in", "model.noise_scale")


def measured(config: Mapping[str, Any]) -> str:
    """Describe the noise or resolution that makes the information of layers finite; empty if the config has none.

    Args:
        config: config of a run, nested, or flat with dotted keys as in a row of `grokplane.record.load`.
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
    """The description for the runs of a frame, and the resolution of the plane (NaN if there is none).

    Args:
        rows: frame with any of the columns `KEYS`.

    Raises:
        ValueError: if the runs were measured in different ways, so that a mean over them is meaningless.
    """
    configs = [dict(row) for _, row in rows.reindex(columns=list(KEYS)).drop_duplicates().iterrows()]
    found = {measured(config): _positive(config, RESOLUTION) for config in configs if measured(config)}
    if len(found) > 1:
        raise ValueError(f"runs measured in different ways cannot be combined: {'; '.join(map(repr, found))}")
    words, resolution = next(iter(found.items()), ("", 0.0))
    return words, resolution or float("nan")


def value(config: Mapping[str, Any], key: str) -> Any:
    """Value of a dotted key in a flat or nested config; None if it is absent."""
    if key in config:
        return config[key]
    first, _, rest = key.partition(".")
    part = config.get(first)
    return value(part, rest) if rest and isinstance(part, Mapping) else None


def _positive(config: Mapping[str, Any], key: str) -> float:
    """Positive number of the config; 0 if it is absent, null or NaN."""
    number = value(config, key)
    return float(number) if number is not None and number > 0 else 0.0
