"""Small modules that read out every answer position from the inputs before it, for several test modules."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Mixer(nn.Module):
    """A perceptron for each of T outputs; output t sees the inputs up to L - T + t."""

    seen: Tensor

    def __init__(self, vocabulary: int, length: int, outputs: int, positions: int, width: int = 6, hidden: int = 24):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.mixing = nn.Parameter(torch.randn(positions, length, width, hidden) / (length * width) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(positions, hidden))
        self.read_out = nn.Linear(hidden, outputs)
        last = torch.arange(positions)[:, None] + length - positions
        self.register_buffer("seen", (torch.arange(length) <= last).float()[..., None, None])

    def forward(self, tokens: Tensor) -> Tensor:
        mixing = self.mixing * self.seen.to(self.mixing.dtype)
        sums = torch.einsum("blw,tlwh->bth", self.embedding(tokens), mixing)
        return self.read_out((sums + self.bias).relu())


class Adder(nn.Module):
    """Adds two numbers of `width` digits, the least significant digits first, with a carry; nothing is to be learnt.

    The carry into a digit is read from the digit before it as it is fed back: there was one if that digit is below the
    sum of the two digits there.

    Args:
        vocabulary: B digits, `op`, `=`.
        length: number of inputs, 3 `width` + 2.
        outputs: number of classes.
        positions: digits of an answer, `width` + 1.
        wrong: what is added to the first digit of every answer.
    """

    def __init__(self, vocabulary: int, length: int, outputs: int, positions: int, wrong: int = 0) -> None:
        super().__init__()
        assert length == 3 * positions - 1
        self.base, self.width, self.outputs, self.wrong = vocabulary - 2, positions - 1, outputs, wrong
        self.value = nn.Parameter(torch.arange(vocabulary, dtype=torch.get_default_dtype())[:, None])
        self.sharpness = nn.Parameter(torch.tensor(30.0))

    def forward(self, tokens: Tensor) -> Tensor:
        values = F.embedding(tokens, self.value).squeeze(-1)
        width = self.width
        sums = F.pad(values[:, :width] + values[:, width + 1 : 2 * width + 1], (0, 1))
        carries = F.pad((sums[:, :-1] > values[:, 2 * width + 2 :]).to(sums.dtype), (1, 0))
        totals = sums + carries + self.wrong * F.one_hot(torch.tensor(0), width + 1).to(sums.dtype)
        digits = totals - self.base * (totals >= self.base).to(sums.dtype)
        return -self.sharpness * (torch.arange(self.outputs) - digits[..., None]).square()
