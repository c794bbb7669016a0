"""The embedding of the operands as an array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from grokplane.metrics.elements import elements, picked
from grokplane.metrics.metric import Array, Metric
from grokplane.metrics.observation import Observation
from grokplane.metrics.token_weights import token_weights
from grokplane.options import ConfigError


@dataclass(frozen=True)
class Embeddings(Metric):
    """`embedding`: the weights of the embedding, or of a first layer on one-hot codes, by element of the group.

    The figures `embedding_circles` and `embedding_spectrum` show them.
    """

    needs_group: ClassVar[bool] = True

    def __call__(self, seen: Observation) -> dict[str, Array]:
        """Weights [E, n, R] float32, NaN in padding, and orders of the cyclic factors [E, K] (`Elements.orders`)."""
        own = elements(seen)
        weights = next(iter(token_weights(seen, own.of_token).values()), None)
        if weights is None:
            raise ConfigError(
                "metrics", "embeddings", "needs a model with a weight for each token, such as an embedding"
            )
        return {"embedding": Array(picked(weights, own.tokens())), "embedding_orders": Array(own.orders)}


GROUP = "metrics"
CHOICES = {"embeddings": Embeddings}
