"""Values of a named layer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LayerOutput:
    """Values of a named layer on a subset, all [E, n, ..., F].

    Attributes:
        preactivations: values before the activation function.
        activations: values after it; the same tensor if the layer has no activation function.
        exact_zeros: whether the activation function can return exactly zero on a whole interval (ReLU).
        noisy: activations with the layer's noise; the activations themselves by default and without noise.
        sigma: standard deviation of the noise [E]; None without noise.
    """

    preactivations: Tensor
    activations: Tensor
    exact_zeros: bool
    noisy: Tensor = None  # type: ignore[assignment]
    sigma: Tensor | None = None

    def __post_init__(self) -> None:
        if self.noisy is None:
            object.__setattr__(self, "noisy", self.activations)
