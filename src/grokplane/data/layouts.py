"""Layouts: how a question is written as tokens, the operands (residues or others) first, then the symbols."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """A layout of questions.

    Attributes:
        symbols: number of token kinds besides the p kinds of operands; symbols are numbered from p.
        write: (operands [N, K], p) -> tokens [N, L], both int64.
    """

    symbols: int
    write: Callable[[Tensor, int], Tensor]

    def fixed(self, operands: int, p: int) -> dict[int, int]:
        """The symbols by position, for questions with this many operands: tokens that every question contains."""
        one, other = (self.write(torch.full((1, operands), value), p)[0].tolist() for value in (0, 1))
        return {place: token for place, token in enumerate(one) if token == other[place]}

    def length(self, operands: int) -> int:
        """Number of tokens L of a question with this many operands."""
        return self.write(torch.zeros(1, operands, dtype=torch.int64), 1).shape[1]


def _operands(operands: Tensor, p: int) -> Tensor:  # noqa: ARG001 (there is no symbol to number)
    return operands


def _equals(operands: Tensor, p: int) -> Tensor:
    return torch.cat([operands, torch.full_like(operands[:, :1], p)], 1)


def _equation(operands: Tensor, p: int) -> Tensor:
    symbols = torch.full_like(operands, p)  # op follows each operand, but = follows the last one
    symbols[:, -1] = p + 1
    return torch.stack([operands, symbols], 2).flatten(1)


LAYOUTS = {
    # a b ...
    "operands": Layout(0, _operands),
    # a op b op ... =, with op numbered p and = numbered p + 1 (Power et al. 2022)
    "equation": Layout(2, _equation),
    # a b ... =, with = numbered p (Nanda et al. 2023)
    "equals": Layout(1, _equals),
}
