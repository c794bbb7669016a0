"""Sums of table rows selected by tokens: the first layer of a network on discrete input, without a large product.

A linear layer on embedded tokens is linear in the tokens' one-hot code. So the layer is applied to the vocabulary once,
which gives a [columns, H] table. Each question then sums the rows of its tokens, by a product with a multi-hot matrix
or by a gather.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grokplane.derivatives import transformed

# Measured on two cores at H = 32 and 128: below about this many columns per token, the product with a dense multi-hot
# matrix is faster than the gather, whose backward pass is a scatter.
PRODUCT_COLUMNS_PER_TOKEN = 56


class Lookup(nn.Module):
    """Tokens [E, B, L] and a table [E, columns, H] -> sums of rows [E, B, H].

    Args:
        vocabulary: number of token kinds V.
        length: number of tokens of a question L.
        by_position: whether each position has its own rows (columns = L * V), or all positions share them (columns =
            V).
    """

    offsets: Tensor

    def __init__(self, vocabulary: int, length: int, by_position: bool) -> None:
        super().__init__()
        self.columns = vocabulary * length if by_position else vocabulary
        offsets = torch.arange(length) * vocabulary if by_position else torch.zeros(length, dtype=torch.int64)
        self.register_buffer("offsets", offsets, persistent=False)
        self._few_columns = self.columns <= PRODUCT_COLUMNS_PER_TOKEN * length

    def encode(self, tokens: Tensor, dtype: torch.dtype) -> Tensor:
        """Counts of each row [E, B, columns], or the rows' indices [E, B, L], whichever is cheaper to sum.

        Off the CPU always the counts, because a scatter there adds in an order that differs between runs.
        """
        rows = tokens + self.offsets
        if tokens.device.type == "cpu" and not self._few_columns:
            return rows
        counts = tokens.new_zeros(*tokens.shape[:2], self.columns, dtype=dtype)
        return counts.scatter_add_(2, rows, torch.ones_like(rows, dtype=dtype))

    def sum(self, encoded: Tensor, table: Tensor, bias: Tensor | None) -> Tensor:
        """bias [E, H], if there is one, plus the sum of each question's rows of table [E, columns, H]."""
        if encoded.is_floating_point():
            return torch.bmm(encoded, table) if bias is None else torch.baddbmm(bias[:, None], encoded, table)
        members, batch, length = encoded.shape
        first = torch.arange(members, device=encoded.device)[:, None, None] * self.columns
        rows = (encoded + first).view(members * batch, length)
        flat = table.flatten(0, 1)
        sums: Any = F.embedding(rows, flat).sum(1) if transformed() else _RowSums.apply(flat, rows)
        sums = sums.view(members, batch, -1)
        return sums if bias is None else sums + bias[:, None]


class _RowSums(torch.autograd.Function):
    """The sum of embedding_bag; its own backward pass sorts the rows and takes three times as long."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.columns = len(table)
        return F.embedding_bag(rows, table, mode="sum")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (gradient,), (rows,) = grad_outputs, ctx.saved_tensors
        table = gradient.new_zeros(ctx.columns, gradient.shape[-1])
        for row in rows.unbind(1):
            table.index_add_(0, row, gradient)
        return table, None
