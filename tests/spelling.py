"""A task with answers that are fed back (teacher forcing), and members that learn it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from builders import member, training
from torch import Tensor, nn

from grokplane.answers import NOT_SCORED, LabelSequence
from grokplane.data import RandomSplit, Table
from grokplane.data.split_task import SplitTask
from grokplane.models import LSTM, Module, Transformer
from grokplane.optim import AdamW
from grokplane.options import option
from grokplane.train import Member

BASE, NUMBERS = 4, 6
EQUALS, END, PADDING, KINDS = 6, 7, 8, 9
LENGTH, READ = 5, 4


@dataclass(frozen=True)
class Spelled(SplitTask):
    """a + b in digits of base 4, most significant first, and an end. b is not written where it is 0.

    Inputs [N, 5] such as `a b = d1 d2` (read from the second token on) or `a = d1 end padding`.
    """

    split: Any = field(default_factory=RandomSplit)
    train_fraction: float | None = option(0.5, stackable=True)
    label_noise: float = option(0.0, stackable=True)

    def table(self, seed: int) -> Table:  # noqa: ARG002 (nothing is drawn)
        pairs = torch.cartesian_prod(torch.arange(NUMBERS), torch.arange(NUMBERS))
        rows = [spelled(a, b) for a, b in pairs.tolist()]
        inputs, targets = (torch.tensor(of) for of in zip(*rows, strict=True))
        long = pairs.sum(1) >= BASE
        groups = {"digits_1": ~long, "digits_2": long}
        return Table(inputs, targets, KINDS, LabelSequence(KINDS, READ, fed_back=True), groups=groups)

    def ask(self, operands: Any) -> Tensor:
        return torch.tensor(spelled(*map(int, operands))[0])


def spelled(a: int, b: int) -> tuple[list[int], list[int]]:
    """Inputs [5] and targets [4] of one question."""
    question = [a, EQUALS] if b == 0 else [a, b, EQUALS]
    answer = [*([(a + b) // BASE] if a + b >= BASE else []), (a + b) % BASE, END]
    inputs = (question + answer)[:LENGTH]
    targets = [NOT_SCORED] * (len(question) - 1) + answer
    filled = [PADDING] * (LENGTH - len(inputs)), [NOT_SCORED] * (LENGTH - len(targets))
    return inputs + filled[0], (targets + filled[1])[LENGTH - READ :]


class Causal(nn.Module):
    """Each output reads the tokens up to its own, through a running sum of their vectors."""

    def __init__(self, vocabulary: int, length: int, outputs: int, positions: int) -> None:
        super().__init__()
        self.embedding, self.read = nn.Embedding(vocabulary * length, 24), positions
        self.vocabulary, self.length = vocabulary, length
        self.hidden, self.out = nn.Linear(24, 64), nn.Linear(64, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(self.length, device=tokens.device) * self.vocabulary
        sums = self.embedding(tokens + places).cumsum(1)
        return self.out(self.hidden(sums).relu())[:, -self.read :]


MODELS: dict[str, Any] = {
    "transformer": Transformer(layers=1, heads=2, width=32, mlp_width=64),
    "two blocks": Transformer(layers=2, heads=2, width=32, mlp_width=64, norm="none", positions="sinusoidal"),
    "lstm": LSTM(width=24),
    "module": Module({"_target_": f"{__name__}.Causal"}),
}


def speller(model: str = "transformer", **parts: Any) -> Member:
    given = {
        "data": Spelled(),
        "model": MODELS[model],
        "optimizer": AdamW(lr=0.003, weight_decay=0.0),
        "train": training(steps=300),
    }
    return member(**(given | parts))


def spellers(model: str = "transformer", **parts: Any) -> list[Member]:
    """Two members with unequal training sets."""
    return [speller(model, seed=seed, data=Spelled(train_fraction=0.5 - 0.2 * seed), **parts) for seed in range(2)]
