"""How many copies of a trained network fit into memory as one stack."""

from __future__ import annotations

import torch
from torch import Tensor

from grokplane.app.trained import Trained
from grokplane.metrics import Observation
from grokplane.options import ConfigError
from grokplane.train.observe import observe

MEMORY = 1 << 30  # bytes that the members of the stack may take
# What a layer holds beside what it shows, such as the products inside attention, takes about as much again.
HIDDEN_SHARE = 2


def copies_at_once(run: Trained) -> int:
    """How many copies of a trained network are evaluated as one stack: as many as fit into MEMORY, at least one."""
    solo = run.stack()
    try:
        run.stack(2)
    except ConfigError:  # a module of the user's own that works alone only
        return 1
    with torch.no_grad():
        seen = observe(solo, None)
    encoded = [_size(solo.network.encode(part.inputs())) for part in solo.examples.subsets.values()]
    state = 4 * sum(map(_size, solo.parameters.values()))  # weights, their copy and two moments
    return max(1, MEMORY // (state + solo.examples.nbytes + HIDDEN_SHARE * (sum(encoded) + _seen(seen))))


def _seen(seen: Observation) -> int:
    """Bytes of all activations."""
    parts = list(seen.subsets.values())
    layers = [layer for part in parts for layer in part.layers.values()]
    values = [value for layer in layers for value in (layer.preactivations, layer.activations)]
    return sum(map(_size, {id(value): value for value in [*values, *(part.outputs for part in parts)]}.values()))


def _size(values: Tensor) -> int:
    return values.numel() * values.element_size()
