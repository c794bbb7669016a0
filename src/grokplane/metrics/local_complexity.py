"""The number of boundaries between linear regions near the points of a subset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from grokplane.mechanism.partitions import cross_polytope, crossed
from grokplane.metrics.chosen import Chosen, chosen
from grokplane.metrics.embedding import found_embedding
from grokplane.metrics.layer_output import LayerOutput
from grokplane.metrics.metric import LoggedSeldom
from grokplane.metrics.observation import Observation
from grokplane.options import ConfigError, checked, option
from grokplane.random import generator

Layers = dict[str, LayerOutput]


@dataclass(frozen=True)
@checked
class LocalComplexity(LoggedSeldom):
    """`local_complexity_{train,eval,ood}/<layer>`: mean number of ReLU units whose boundary crosses a neighbourhood.

    The neighbourhood of an input x is the cross-polytope with the vertices x + r v_k and x - r v_k, where v_k are
    random orthonormal directions, the same for all points. A unit's boundary crosses it if its preactivation is
    positive at some vertices and not at all (Humayun, Balestriero and Baraniuk 2024, "Deep networks always grok and
    here is why"). `.../total` is the sum over layers. Inputs that are tokens are moved in the space of the embedding:
    the vectors of all tokens are shifted by r v_k together.
    """

    points: int = option(64, "the largest number of points of a subset, drawn at random", at_least=1)
    directions: int = option(25, "directions of a neighbourhood; at most the width of the input are used", at_least=1)
    radius: float = option(0.1, "distance of the vertices from the point", above=0)
    seed: int = option(0, "seed of the drawn points and of the directions", at_least=0)

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """Numbers of units [E] in float64 by subset and layer; NaN for a network that is not finite.

        Raises:
            ConfigError: a network without ReLU units, or with tokens and no embedding.
        """
        found = {}
        for name, subset in seen.subsets.items():
            some = chosen(subset, self.points, self.seed)
            counts = self._crossed(some, seen)
            for layer, count in (counts | {"total": torch.stack(list(counts.values())).sum(0)}).items():
                found[f"local_complexity_{name}/{layer}"] = count
        return found

    def _crossed(self, some: Chosen, seen: Observation) -> dict[str, Tensor]:
        """The values [E] by layer."""
        move, size = _moves(some, seen)
        offsets = cross_polytope(size, self.directions, self.radius, generator(self.seed, "local complexity"))
        active: dict[str, Tensor] = {}
        finite = torch.ones(len(some.mask), dtype=torch.bool, device=some.mask.device)
        for offset in offsets.to(some.subset.losses):
            for name, values in _relu(move(offset)):
                active[name] = active.get(name, 0) + (values > 0).to(torch.int32)
                finite = finite & torch.isfinite(values).all(2).all(1)
        counts = {name: crossed(one, len(offsets), some.mask) for name, one in active.items()}
        return {name: torch.where(finite, one, torch.nan) for name, one in counts.items()}


def _relu(layers: Layers) -> Iterator[tuple[str, Tensor]]:
    """The preactivations [E, P, U] of layers of ReLU units, by name."""
    units = {name: layer for name, layer in layers.items() if layer.exact_zeros}
    if not units:
        raise _refused("no unit of this model is a ReLU; use a model with model.activation=ReLU")
    yield from ((name, layer.preactivations.flatten(2)) for name, layer in units.items())


def _moves(some: Chosen, seen: Observation) -> tuple[Callable[[Tensor], Layers], int]:
    """A function that gives the layers of the points moved by an offset [d], and the number d of coordinates."""
    inputs, run = some.inputs, some.subset.source.run

    def moved_inputs(offset: Tensor) -> Layers:
        layers: Layers = {}
        run(some.part, {}, inputs + offset.view(inputs.shape[2:]), layers=layers)
        return layers

    if inputs.is_floating_point():
        return moved_inputs, prod(inputs.shape[2:])
    found = found_embedding(seen)
    if found is None:
        raise _refused("this model has no embedding of the tokens; use model.embedding=sum or concat")
    name, table = found

    def moved_embeddings(offset: Tensor) -> Layers:
        layers: Layers = {}
        run(some.part, {name: table + offset}, inputs, layers=layers)
        return layers

    return moved_embeddings, table.shape[-1]


def _refused(why: str) -> ConfigError:
    return ConfigError("metrics", "local_complexity", f"{why}, or take it out of the list")


GROUP = "metrics"
CHOICES = {"local_complexity": LocalComplexity}
