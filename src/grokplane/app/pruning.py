"""Global magnitude pruning of a trained run; each sparsity is a member of a stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grokplane.app.at_once import copies_at_once
from grokplane.app.errors import Refused
from grokplane.app.trained import Trained
from grokplane.metrics import Accuracy
from grokplane.options import one_of
from grokplane.train import Stack
from grokplane.train.observe import observe

DENSE = 0.9  # half of the levels lie above it
TOLERANCE = 0.01


@dataclass(frozen=True)
class Pruned:
    """Result of pruning a run.

    Attributes:
        levels: for each sparsity, rising: `sparsity` (zeroed / weights), `zeroed`, and all accuracies by name.
        weights: number of weights that pruning chooses from.
        others: number of parameters that it keeps.
    """

    levels: list[dict[str, Any]]
    weights: int
    others: int

    @property
    def kept(self) -> dict[str, Any]:
        """The level of the largest sparsity whose held-out accuracy is within 0.01 of that of the first level."""
        least = self.levels[0]["Acc/test"] - TOLERANCE
        return next(level for level in reversed(self.levels) if level["Acc/test"] >= least - 1e-12)


def sparsities(steps: int) -> list[float]:
    """Return `steps` shares from 0 to 1, with half of the intervals above 0.9."""
    low = (steps - 1) // 2
    high = steps - 1 - low
    return [DENSE * i / low for i in range(low)] + [1 - (1 - DENSE) * i / high for i in range(high, -1, -1)]


def prune(run: Trained, shares: Sequence[float], layers: Sequence[str] | None = None) -> Pruned:
    """Global magnitude pruning (Han et al. 2015, without retraining), every level a member of a stack.

    Args:
        run: the run at a step.
        shares: rising shares of the weights to set to zero; of n weights, round(share * n) are.
        layers: names of the layers whose weights are pruned; None: all.

    Raises:
        Refused: a layer that is not there, or none that has a weight matrix.
    """
    solo = run.stack()
    weights = _weights(solo, layers)
    if not weights:
        raise Refused(f"RUN={run.folder}: its network has no weight matrix, and nothing else is pruned")
    places = _places(weights)
    total = sum(place.numel() for place in places.values())
    counts, together = [round(share * total) for share in shares], copies_at_once(run)
    levels = []
    for start in range(0, len(counts), together):
        part = counts[start : start + together]
        levels += _levels(run.stack(len(part)), places, part, total)
    return Pruned(levels, total, sum(value[0].numel() for value in solo.parameters.values()) - total)


def _weights(stack: Stack, layers: Sequence[str] | None) -> dict[str, Tensor]:
    """The matrices [1, ...] that are pruned, by parameter name."""
    matrices = {name: value.detach() for name, value in stack.parameters.items() if value.dim() > 2}
    if layers is None:
        return matrices
    named = {layer: {id(value) for value in roles.values()} for layer, roles in stack.network.layers().items()}
    known = [layer for layer, ids in named.items() if any(id(stack.parameters[name]) in ids for name in matrices)]
    for layer in layers:
        if layer not in known:
            raise Refused(f"--layers={layer}: no layer with a weight matrix; {one_of(layer, known)}")
    chosen = set[int]().union(*(named[layer] for layer in layers))
    return {name: value for name, value in matrices.items() if id(stack.parameters[name]) in chosen}


def _places(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the rank of each weight by absolute value, 0 for the smallest; ties keep their order."""
    sizes = torch.cat([value.abs().flatten() for value in weights.values()])
    order = sizes.argsort(stable=True)
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order), device=order.device)
    parts = places.split([value.numel() for value in weights.values()])
    return {name: part.view_as(weights[name]) for name, part in zip(weights, parts, strict=True)}


def _levels(stack: Stack, places: Mapping[str, Tensor], counts: Sequence[int], total: int) -> Iterator[dict[str, Any]]:
    """Zero the first `counts[e]` weights of member e, and evaluate."""
    zeroed = torch.tensor(counts, device=stack.device)
    with torch.no_grad():
        for name, place in places.items():
            stack.parameters[name].masked_fill_(place < zeroed.view(-1, *[1] * (place.dim() - 1)), 0)
        accuracies = {name: value.tolist() for name, value in Accuracy()(observe(stack, None)).items()}
    for member, count in enumerate(counts):
        row = {name: values[member] for name, values in accuracies.items()}
        yield {"sparsity": count / total, "zeroed": count} | row
