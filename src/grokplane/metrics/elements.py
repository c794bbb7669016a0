"""Tokens and questions in the order of the elements of the operands' groups, for all members at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from grokplane.metrics.observation import Observation
from grokplane.metrics.padded import stacked
from grokplane.operand_group import OperandGroup
from grokplane.options import ConfigError


@dataclass(frozen=True, eq=False)
class Elements:
    """The groups of the members, padded to the largest order n.

    Attributes:
        of_token: element of each token [E, V]; -1 for symbols.
        order: the largest order n.
        orders: orders of the cyclic groups whose product a member's group is [E, K], or 0 if it is no such product;
            padded with 1.
    """

    of_token: Tensor
    order: int
    orders: Tensor

    def tokens(self) -> Tensor:
        """Token of each element [E, n]; V in padding."""
        return _inverse(self.of_token, self.order)

    def questions(self, operands: Tensor) -> Tensor:
        """Question of each pair of elements, as a n + b, [E, n^2]; N where there is none.

        Args:
            operands: of each question [E, N, 2], -1 in padding.
        """
        element = of_operands(self.of_token, operands)
        real = (element >= 0).all(2)
        return _inverse(torch.where(real, element[..., 0] * self.order + element[..., 1], -1), self.order**2)


def of_operands(of_token: Tensor, operands: Tensor) -> Tensor:
    """The element of each operand [E, N, K] of tokens [E, N, K]; -1 for no element and for padding (token -1).

    Args:
        of_token: see `Elements`.
        operands: tokens, -1 in padding.
    """
    element = of_token.gather(1, operands.clamp(min=0).flatten(1)).view_as(operands)
    return torch.where(operands >= 0, element, -1)


def elements(seen: Observation) -> Elements:
    """The elements of a log point of a metric with `needs_group = True`."""
    assert seen.operands is not None
    return of_groups(tuple(group for group in seen.operand_groups if group is not None), seen.operands.device)


def pair_questions(seen: Observation, own: Elements, metric: str) -> Tensor:
    """`Elements.questions` of a log point.

    Raises:
        ConfigError: questions with more or fewer than two operands.
    """
    assert seen.operands is not None
    if (count := seen.operands.shape[2]) != 2:
        raise ConfigError("metrics", metric, f"needs questions with two operands, and this task has {count}")
    return own.questions(seen.operands)


def picked(values: Tensor, index: Tensor) -> Tensor:
    """Rows of values [E, N, R] at an index [E, M], as float32 [E, M, R]; NaN at index N."""
    padded = F.pad(values.float(), (0, 0, 0, 1), value=torch.nan)
    return padded.gather(1, index[..., None].expand(-1, -1, values.shape[2]))


def _inverse(places: Tensor, count: int) -> Tensor:
    """Number of the entry that holds each place [E, count], of places [E, N]; N for a place that no entry holds."""
    members, entries = places.shape
    found = places.new_full((members, count + 1), entries)
    numbers = torch.arange(entries, device=places.device).expand_as(places)
    return found.scatter_(1, torch.where(places < 0, count, places), numbers)[:, :count]


@lru_cache(maxsize=4)
def of_groups(groups: tuple[OperandGroup, ...], device: torch.device) -> Elements:
    """The elements of the groups of some members; the last ones are kept."""
    orders = [torch.tensor(group.orders or (0,)) for group in groups]
    return Elements(
        of_token=stacked([group.elements for group in groups], -1, device),
        order=max(group.order for group in groups),
        orders=stacked(orders, 1, device),
    )
