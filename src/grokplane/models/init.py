"""Initialisations by name. Each fills one member's tensors from that member's generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Generator, Tensor, nn


@dataclass(frozen=True)
class Initialisation:
    """An initialisation of weights.

    Attributes:
        linear: fills a weight [out, in] and a bias [out].
        embedding: fills a table [vocabulary, width].
    """

    linear: Callable[[Tensor, Tensor, Generator], Any]
    embedding: Callable[[Tensor, Generator], Any]


def _torch_linear(weight: Tensor, bias: Tensor, generator: Generator) -> None:
    bound = weight.shape[1] ** -0.5
    nn.init.uniform_(weight, -bound, bound, generator)
    nn.init.uniform_(bias, -bound, bound, generator)


def _kaiming_linear(weight: Tensor, bias: Tensor, generator: Generator) -> None:
    nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(bias)


def _normal_linear(weight: Tensor, bias: Tensor, generator: Generator) -> None:
    nn.init.normal_(weight, std=weight.shape[1] ** -0.5, generator=generator)
    nn.init.zeros_(bias)


def _unit_normal(table: Tensor, generator: Generator) -> None:
    nn.init.normal_(table, generator=generator)


def _narrow_normal_linear(weight: Tensor, bias: Tensor, generator: Generator) -> None:
    nn.init.normal_(weight, std=min(weight.shape) ** -0.5, generator=generator)
    nn.init.zeros_(bias)


def _scaled_normal(table: Tensor, generator: Generator) -> None:
    nn.init.normal_(table, std=table.shape[1] ** -0.5, generator=generator)


def _gaussian_linear(sigma: float, weight: Tensor, bias: Tensor, generator: Generator) -> None:
    nn.init.normal_(weight, std=sigma, generator=generator)
    nn.init.zeros_(bias)


def _kaiming_embedding(table: Tensor, generator: Generator) -> None:
    nn.init.kaiming_normal_(table, nonlinearity="relu", generator=generator)


INITIALISATIONS = {
    # As torch.nn.Linear and torch.nn.Embedding: U(-1/sqrt(in), 1/sqrt(in)) and N(0, 1).
    "torch": Initialisation(_torch_linear, _unit_normal),
    # He et al. 2015: N(0, 2/in), zero bias; for an embedding `in` is its width, as in torch.
    "kaiming": Initialisation(_kaiming_linear, _kaiming_embedding),
    # LeCun et al. 1998: N(0, 1/in), zero bias; embeddings N(0, 1).
    "normal": Initialisation(_normal_linear, _unit_normal),
    # As each matrix of the Transformer of Nanda et al. 2023: N(0, 1/min(in, out)), embeddings N(0, 1/width).
    "scaled_normal": Initialisation(_narrow_normal_linear, _scaled_normal),
}


def initialisation(init: str | Initialisation) -> Initialisation:
    """An initialisation by its name, or the given one."""
    return INITIALISATIONS[init] if isinstance(init, str) else init


def gaussian(sigma: float) -> Initialisation:
    """Weights N(0, sigma^2) and zero biases; embeddings N(0, 1)."""
    return Initialisation(partial(_gaussian_linear, sigma), _unit_normal)


def gaussian_sigma(width: int) -> float:
    """0.5 / (2 N)^(1/3) for N = `width` hidden units: Doshi et al. 2023, arXiv 2310.13061."""
    return 0.5 / (2 * width) ** (1 / 3)
