"""Diagnostics in the Fourier basis of the operands' group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from grokplane.answers import Reads
from grokplane.mechanism import pairs, spectra
from grokplane.metrics.metric import Array, Metric
from grokplane.metrics.observation import Observation
from grokplane.metrics.pair_grid import Frame, Grid, frame
from grokplane.metrics.restricted import kept_of, restricted_losses
from grokplane.metrics.token_weights import token_weights
from grokplane.options import ConfigError, checked, option
from grokplane.unread import Surroundings

Values = dict[str, "Tensor | Array"]


@dataclass(frozen=True)
@checked
class Fourier(Metric):
    """Spectra of weights and of layers over (a, b), key frequencies, and losses with frequencies kept or taken out.

    Formulas are in docs/metrics.md. Sources: Nanda et al. 2023, arXiv 2301.05217 (restricted and excluded loss);
    Gromov 2023, arXiv 2301.02679, and Doshi et al. 2023, arXiv 2310.13061 (inverse participation ratio).
    """

    reads: ClassVar[Reads] = "labels"
    needs_layers: ClassVar[bool] = True
    needs_group: ClassVar[bool] = True

    multiple: float = option(
        3.0, "a frequency is key if the embedding has at least this multiple of the uniform share in it", at_least=0
    )
    frequencies: list[int] | None = option(
        None, "the key frequencies, such as those of a later step; null: found by metrics.fourier.multiple", at_least=1
    )
    top: int = option(5, "number of frequencies in fourier_top_<number>", at_least=2)
    values: str = option(
        "activations", "values of the layers: after or before activation", choices=["activations", "preactivations"]
    )

    def unread(self, around: Surroundings) -> dict[str, str]:  # noqa: ARG002 (its own keys decide)
        """See `grokplane.unread`."""
        return {} if self.frequencies is None else {"multiple": "metrics.fourier.frequencies names the key frequencies"}

    def __call__(self, seen: Observation) -> Values:
        """Numbers [E] in float64, spectra [E, M] and flags of key frequencies [E, M] by name; see docs/metrics.md."""
        assert seen.operands is not None
        own = frame(seen.operand_groups, seen.operands.device)
        found, share = self._weights(seen, own)
        key = self._key(share, own)
        found |= {
            "key_frequencies": Array(key),
            "fourier_key_count": key.sum(1).double(),
            "fourier_key_share": (share * key).sum(1),
        }
        if seen.operands.shape[2] == 2:
            grid = Grid(own, seen.operands)
            for layer in seen.train.layers:
                found |= self._layer(seen, grid, layer)
            found |= restricted_losses(seen, grid, key)
        return found

    def _weights(self, seen: Observation, own: Frame) -> tuple[Values, Tensor]:
        """Values of weights over tokens, and shares [E, M] of the embedding's energy without the constant."""
        found: Values = {}
        embedding: Tensor | None = None
        for layer, weights in token_weights(seen, own.elements).items():
            energy = spectra.energies(own.waves, own.on_tokens(weights))
            total = energy.sum(1)
            there = own.exists | _constant(own)
            found |= self._concentration(f"_weight/{layer}", spectra.shares(energy, total), there, ~(total == 0))
            found |= _power(f"power_weight/{layer}", energy.sum(2), total.sum(1), there)
            if embedding is None:
                varying = torch.where(own.exists, energy.sum(2), 0)
                embedding = spectra.shares(varying[..., None], varying.sum(1)[:, None])[..., 0]
        if embedding is None:
            raise ConfigError("metrics", "fourier", "needs a model with a weight for each token, such as an embedding")
        return found, embedding

    def _key(self, share: Tensor, own: Frame) -> Tensor:
        if self.frequencies is None:
            return spectra.key_frequencies(share, own.exists, self.multiple)
        numbers = torch.arange(share.shape[1], device=share.device)
        if max(self.frequencies, default=0) >= len(numbers):
            allowed = f"frequencies of this group are 1 to {len(numbers) - 1}"
            raise ConfigError("metrics.fourier.frequencies", self.frequencies, allowed)
        named = torch.stack([numbers == one for one in self.frequencies] or [numbers < 0]).any(0)
        return own.exists & named

    def _layer(self, seen: Observation, grid: Grid, layer: str) -> Values:
        """Values of a layer as functions of (a, b)."""
        own, sizes = grid.frame, grid.frame.sizes[:, None]
        table = seen.over_table(lambda subset: getattr(subset.layers[layer], self.values).flatten(2))
        mean, varying = grid.of(table)
        constant, changes = (sizes * mean.double()).square(), varying.square().sum(1).double()
        energy = {}
        for name, means in zip(pairs.FAMILIES, grid.means(varying), strict=True):
            found = spectra.energies(own.waves, means) * sizes[..., None]
            energy[name] = torch.where(kept_of(own, name)[..., None], found, 0)
        together = torch.stack(list(energy.values())).sum(0)
        # Round-off of a unit that is constant is no energy.
        counted = ~(changes <= (8 * torch.finfo(table.dtype).eps) ** 2 * (constant + changes))
        values = self._concentration(f"/{layer}", spectra.shares(together, changes), own.exists, counted)
        total = (constant + changes).sum(1)
        by_family = {name: one.sum((1, 2)) / total for name, one in energy.items()}
        by_family["constant"] = constant.sum(1) / total
        by_family["rest"] = 1 - torch.stack(list(by_family.values())).sum(0)
        by_frequency = together.sum(2) + torch.where(_constant(own), constant.sum(1)[:, None], 0)
        values |= {f"fourier_family_{name}/{layer}": share for name, share in by_family.items()}
        return values | _power(f"power/{layer}", by_frequency, total, own.exists | _constant(own))

    def _concentration(self, of: str, share: Tensor, exists: Tensor, counted: Tensor) -> Values:
        """Means of the concentration of shares [E, M, R] over the rows of a mask [E, R]; names end in `of`."""
        numbers = {
            f"fourier_IPR{of}": spectra.participation(share),
            f"fourier_gini{of}": spectra.gini(share, exists),
            f"fourier_top_1{of}": spectra.top(share, 1),
            f"fourier_top_{self.top}{of}": spectra.top(share, self.top),
        }
        return {name: spectra.over_rows(value, counted) for name, value in numbers.items()}


def _constant(own: Frame) -> Tensor:
    """Flags [M] of the constant."""
    return torch.arange(own.exists.shape[1], device=own.exists.device) == 0


def _power(name: str, energy: Tensor, total: Tensor, exists: Tensor) -> Values:
    """A spectrum [E, M] as shares of the total [E]; NaN for frequencies that a member does not have."""
    return {name: Array(torch.where(exists, energy / total[:, None], torch.nan))}


GROUP = "metrics"
CHOICES = {"fourier": Fourier}
