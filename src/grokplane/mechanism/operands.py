"""Elements of a group and rows of a table, for operands of a stack of members."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from grokplane.operand_group import OperandGroup


def tokens_of_elements(group: OperandGroup) -> Tensor:
    """The token of each element [n]."""
    tokens = torch.nonzero(group.elements >= 0)[:, 0]
    found = torch.empty(group.order, dtype=torch.int64)
    return found.index_put((group.elements[tokens],), tokens)


def elements(groups: Sequence[OperandGroup], operands: Tensor) -> Tensor:
    """The element of each operand [E, N, K] of tokens [E, N, K]; -1 for no element and for padding (token -1)."""
    known = torch.stack([group.elements for group in groups]).to(operands.device)
    flat = operands.flatten(1)
    return torch.where(flat >= 0, known.gather(1, flat.clamp_min(0)), -1).view_as(operands)


def quotients(groups: Sequence[OperandGroup]) -> Tensor:
    """a∘b^-1 in row a and column b of each member's table [E, n, n]; padded with 0 to the largest n."""
    largest = max(group.order for group in groups)
    rests = [largest - group.order for group in groups]
    # Padding is written to an extra row.
    products = [F.pad(one.products, (0, rest, 0, rest), value=largest) for one, rest in zip(groups, rests, strict=True)]
    places, every = torch.stack(products), torch.arange(largest)[:, None]
    found = torch.zeros(len(groups), largest + 1, largest, dtype=torch.int64)
    return found.scatter_(1, places, every.expand_as(places))[:, :largest]


def rows_of_pairs(operands: Tensor, tokens: int) -> Tensor:
    """The row of each pair of tokens in the table [E, tokens^2], the first token varying slowest; -1 if it has none.

    Args:
        operands: operands of each row [E, N, 2], -1 for padding.
        tokens: number of tokens.
    """
    members, rows, _ = operands.shape
    pairs = operands[..., 0] * tokens + operands[..., 1]
    pairs = pairs.masked_fill((operands < 0).any(2), tokens**2)  # padding is written to an extra place
    found = torch.full((members, tokens**2 + 1), -1, dtype=torch.int64, device=operands.device)
    numbers = torch.arange(rows, device=operands.device).expand(members, -1)
    return found.scatter_(1, pairs, numbers)[:, :-1]
