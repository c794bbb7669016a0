"""Activations of some units as functions of both operands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.metrics.elements import elements, pair_questions, picked
from grokplane.metrics.metric import Array, LoggedSeldom
from grokplane.metrics.observation import Observation
from grokplane.options import ConfigError, checked, one_of, option


@dataclass(frozen=True)
@checked
class ActivationMaps(LoggedSeldom):
    """`maps/<layer>`: activations of evenly spaced units at all pairs (a, b) of elements, the same units at all steps.

    The figure `activation_maps` shows them.
    """

    needs_layers: ClassVar[bool] = True
    needs_group: ClassVar[bool] = True

    count: int = option(9, "units of each layer, evenly spaced by index from the first to the last", at_least=1)
    layers: list[str] | None = option(None, "names of the layers; null: all but the last one, the outputs")

    def __call__(self, seen: Observation) -> dict[str, Array]:
        """Maps [E, units, n, n] float32, NaN where a pair is no question, and indices of units [E, units] by layer."""
        own = elements(seen)
        index, found = pair_questions(seen, own, "activation_maps"), {}
        for layer in self._layers(list(seen.train.layers)):
            width = seen.train.layers[layer].activations.flatten(2).shape[2]
            units = spaced(width, self.count).to(index.device)
            values = seen.over_table(
                lambda subset, layer=layer, units=units: subset.layers[layer].activations.flatten(2)[..., units]
            )
            maps = picked(values, index).mT.unflatten(2, (own.order, own.order))
            found |= {f"maps/{layer}": Array(maps), f"map_units/{layer}": Array(units.expand(len(index), -1))}
        return found

    def _layers(self, known: list[str]) -> list[str]:
        for layer in self.layers or ():
            if layer not in known:
                raise ConfigError("metrics.activation_maps.layers", layer, one_of(layer, known))
        return known[:-1] if self.layers is None else self.layers


def spaced(width: int, count: int) -> Tensor:
    """`count` evenly spaced indices below `width`, with the first and the last; all indices if there are fewer."""
    return torch.linspace(0, width - 1, min(count, width), dtype=torch.float64).round().long()


GROUP = "metrics"
CHOICES = {"activation_maps": ActivationMaps}
