"""The weights of a network as functions of a token: its embedding or first layer, and its read-out."""

from __future__ import annotations

import torch
from torch import Tensor

from grokplane.metrics.observation import Observation


def token_weights(seen: Observation, elements: Tensor) -> dict[str, Tensor]:
    """Weights [E, V, R] by layer: R functions of the token, first those of the layer that reads tokens.

    The layer that reads tokens is the first one with a weight [E, V, D], an embedding, or [E, D, P V], which
    multiplies one-hot codes; its functions are those of each unit and position. Positions that hold a symbol in every
    question are zero. The read-out is the last layer with a weight [E, V, H]. Empty without such layers.

    Args:
        seen: the log point.
        elements: the element of each token [E, V]; -1 for symbols.
    """
    found: dict[str, Tensor] = {}
    vocabulary = elements.shape[1]
    weights = [
        (layer, value)
        for layer, roles in seen.parameters.items()
        for role, value in roles.items()
        if role.startswith("weight") and value.dim() == 3
    ]
    for layer, value in weights:
        if value.shape[1] == vocabulary and (layer == "embedding" or value.shape[2] % vocabulary):
            found[layer] = value
        elif value.shape[2] % vocabulary == 0:
            found[layer] = _by_position(seen, value.unflatten(2, (-1, vocabulary)), elements)
        if found:
            break
    for layer, value in reversed(weights):
        if found and layer not in found and value.shape[1] == vocabulary:
            return found | {layer: value}
    return found


def _by_position(seen: Observation, weights: Tensor, elements: Tensor) -> Tensor:
    """Weights [E, D, P, V] on the one-hot codes of P positions, as [E, V, P D]."""
    if weights.shape[2] > 1:
        tokens = seen.train.inputs
        real = elements.gather(1, tokens.flatten(1)).view_as(tokens) >= 0
        weights = weights * real.any(1)[:, None, :, None]
    return torch.permute(weights, (0, 3, 2, 1)).flatten(2)
