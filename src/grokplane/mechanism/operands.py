"""Rows of a table by the operands of their questions, for a stack of members."""

from __future__ import annotations

import torch
from torch import Tensor


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
