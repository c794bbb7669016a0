"""What metrics of operands need: the embedding of tokens, and questions of two operands."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from grokplane.metrics.observation import Observation
from grokplane.operand_group import OperandGroup
from grokplane.options import ConfigError


def found_embedding(seen: Observation) -> tuple[str, Tensor] | None:
    """The full name of the embedding of tokens, and its weight [E, V, D]; None if the network has none.

    It is the first parameter whose name is `embedding.weight` or ends with `.embedding.weight`.
    """
    for name, weight in seen.all_parameters.items():
        if name.split(".")[-2:] == ["embedding", "weight"] and weight.dim() == 3:
            return name, weight
    return None


def embedding(seen: Observation, metric: str) -> tuple[str, Tensor]:
    """See `found_embedding`.

    Raises:
        ConfigError: the network has none.
    """
    found = found_embedding(seen)
    if found is not None:
        return found
    allowed = "needs an embedding of tokens, as with model.embedding=sum or concat, transformer and lstm; leave it out"
    raise ConfigError("metrics", metric, allowed)


def two_operands(seen: Observation, metric: str) -> tuple[Tensor, Sequence[OperandGroup]]:
    """Operands [E, N, 2] and the group of each member.

    Raises:
        ConfigError: questions have more operands, or answers are not single labels.
    """
    operands, groups = seen.operands, [group for group in seen.operand_groups if group is not None]
    if operands is None or operands.shape[2] != 2 or seen.train.targets.dim() != 2:
        raise ConfigError("metrics", metric, "needs questions of two operands with one label as answer; leave it out")
    return operands, groups
