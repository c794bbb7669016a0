"""Binary operations modulo p as a task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grokplane.data.noise import with_label_noise
from grokplane.data.operations import OPERATIONS, is_prime
from grokplane.data.table import Examples, Table
from grokplane.options import ConfigError, option

GROUP = "data"


@dataclass(frozen=True)
class Layout:
    """How a question is written as tokens.

    Attributes:
        symbols: number of token kinds besides the p residues; they follow the residues.
        write: (x [N], y [N], p) -> tokens [N, L].
    """

    symbols: int
    write: Callable[[Tensor, Tensor, int], Tensor]


def _operands(x: Tensor, y: Tensor, p: int) -> Tensor:  # noqa: ARG001
    return torch.stack([x, y], 1)


def _equation(x: Tensor, y: Tensor, p: int) -> Tensor:
    operator, equals = torch.full_like(x, p), torch.full_like(x, p + 1)
    return torch.stack([x, operator, y, equals], 1)


LAYOUTS = {"operands": Layout(0, _operands), "equation": Layout(2, _equation)}


@dataclass(frozen=True)
class Modular:
    """All pairs of residues modulo p under one operation; the classes are the tokens of the layout."""

    split: Any = option(help="which pairs train: data/split=random, label_holdout or ordered")
    p: int = option(53, "modulus", at_least=2, at_most=2_000)
    operation: str = option("add", "what is done to the two operands", choices=OPERATIONS, stackable=True)
    layout: str = option("operands", "tokens of a question: a b, or a op b =", choices=LAYOUTS)
    train_fraction: float | None = option(0.3, "share of the pairs that trains", above=0, below=1, stackable=True)
    label_noise: float = option(
        0.0, "training answers replaced: a fraction below 1, a number from 1 on", at_least=0, stackable=True
    )

    def table(self, seed: int) -> Table:
        """All N pairs, N = p^2 or, for div, p(p-1); inputs [N, 2] or [N, 4]. The seed matters to `random` alone.

        Raises:
            ConfigError: an operation that divides modulo a number that is not prime.
        """
        operation, layout = OPERATIONS[self.operation], LAYOUTS[self.layout]
        if operation.needs_prime and not is_prime(self.p):
            raise ConfigError("data.operation", self.operation, f"needs a prime data.p, not {self.p}")
        x, y = operation.operands(self.p)
        vocabulary = self.p + layout.symbols
        return Table(layout.write(x, y, self.p), operation.answer(x, y, self.p, seed), vocabulary, classes=vocabulary)

    def examples(self, seed: int) -> Examples:
        """One member's pairs: split by its seed, with its label noise.

        Raises:
            ConfigError: for keys that do not go together.
        """
        table = self.table(seed)
        train, test = self.split(table, self.train_fraction, seed)
        noisy = with_label_noise(table.targets[train], self.label_noise, seed)
        return Examples(table, train, test, noisy)


CHOICES = {"modular": Modular}
