"""A lower bound on mutual information from a small critic that is trained on the samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from grokplane.mi.base import Array, Estimate, as_tensor, labels, mean_of, over_batch, samples
from grokplane.mi.ceiling import bounded
from grokplane.options import check_options, option
from grokplane.random import generator

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class InfoNCE:
    """I(X;Y) >= ln B + < s(x_i, y_i) - log sum_j exp s(x_i, y_j) > over batches of B pairs, with a trained critic s.

    van den Oord, Li and Vinyals 2018, "Representation learning with contrastive predictive coding" (arXiv
    1807.03748). The critic is s(x, y) = f(x)' g(y), where f and g have one hidden GELU layer. AdamW trains it on a
    random half of the pairs. It is evaluated on the other half, so that the value is a bound in expectation and does
    not overfit.

    The value never exceeds ln B and falls far short near ln B: the information should be well below ln B. Few samples
    give a poor critic and a value that is too low, possibly negative. Columns are centred and scaled by their standard
    deviation; constant columns become 0. Labels enter as one-hot vectors.

    Standard error: standard deviation of the held-out terms over the square root of their number. It does not include
    the variation between critics.
    """

    seed: int = option(0, "seed of the split, the weights and the batches", at_least=0)
    steps: int = option(200, "number of training steps", at_least=1)
    batch_size: int = option(128, "pairs per batch, B; at most half of all pairs", at_least=2)
    hidden: int = option(64, "width of the hidden layers", at_least=1)
    features: int = option(16, "number of features that the critic compares", at_least=1)
    lr: float = option(3e-3, "initial learning rate, with cosine decay to 0", above=0)
    weight_decay: float = option(0.1, "weight decay of AdamW", at_least=0)

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, x: Array, y: Array) -> Estimate:
        """Mutual information in nats of x [..., N, dx] and y [..., N, dy] or labels [..., N].

        Raises:
            ValueError: for fewer than four pairs.
        """
        x = samples(x, least=4)
        y = as_tensor(y, "y")
        if y.is_floating_point():
            return over_batch(bounded(self._one, "InfoNCE"), x, samples(y, "y"))
        one = bounded(lambda x, y: self._one(x, _indicators(y)), "InfoNCE")
        return over_batch(one, x, labels(y), events=(2, 1))

    def _one(self, x: Tensor, y: Tensor) -> Estimate:
        order = torch.randperm(len(x), generator=generator(self.seed, "infonce/split")).to(x.device)
        train, held_out = order[: len(x) // 2], order[len(x) // 2 :]
        x, y = _standard(x, train), _standard(y, train)
        weights = self._trained(x[train], y[train])
        size = min(self.batch_size, len(train))
        with torch.no_grad():
            whole = held_out[: len(held_out) // size * size].split(size)
            return mean_of(torch.cat([_terms(weights, x[rows], y[rows]) for rows in whole]))

    @torch.inference_mode(False)
    @torch.enable_grad()
    def _trained(self, x: Tensor, y: Tensor) -> Weights:
        x, y = x.clone(), y.clone()  # inference-mode tensors cannot be used in autograd
        weights = {name: value.to(x.device).requires_grad_() for name, value in self._drawn(x.shape[1], y.shape[1])}
        optimizer = torch.optim.AdamW(weights.values(), lr=self.lr, weight_decay=self.weight_decay)
        for step, rows in zip(range(self.steps), self._batches(len(x)), strict=False):
            optimizer.param_groups[0]["lr"] = self.lr * (1 + math.cos(math.pi * step / self.steps)) / 2
            optimizer.zero_grad()
            rows = rows.to(x.device)
            _terms(weights, x[rows], y[rows]).mean().neg().backward()
            optimizer.step()
        return weights

    def _drawn(self, of_x: int, of_y: int) -> Iterator[tuple[str, Tensor]]:
        stream = generator(self.seed, "infonce/weights")
        for side, columns in (("x", of_x), ("y", of_y)):
            for name, inputs, outputs in (("in", columns, self.hidden), ("out", self.hidden, self.features)):
                weight = torch.randn(inputs, outputs, dtype=torch.float64, generator=stream) * inputs**-0.5
                yield f"{side}_{name}", weight
                yield f"{side}_{name}_bias", torch.zeros(outputs, dtype=torch.float64)

    def _batches(self, count: int) -> Iterator[Tensor]:
        stream = generator(self.seed, "infonce/batches")
        while True:
            order = torch.randperm(count, generator=stream)
            yield from order.split(self.batch_size)[: max(1, count // self.batch_size)]


def _terms(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
    """Terms of the bound for each pair of a batch [B]."""
    scores = _features(weights, x, "x") @ _features(weights, y, "y").T
    return math.log(len(x)) + scores.log_softmax(1).diagonal()


def _features(weights: Weights, x: Tensor, side: str) -> Tensor:
    hidden = torch.nn.functional.gelu(x @ weights[f"{side}_in"] + weights[f"{side}_in_bias"])
    return hidden @ weights[f"{side}_out"] + weights[f"{side}_out_bias"]


def _standard(x: Tensor, train: Tensor) -> Tensor:
    """Scale columns to mean 0 and standard deviation 1 over the training rows; constant columns become 0."""
    centred = x - x[train].mean(0)
    largest = x.abs().amax(0)
    size = centred[train].std(0)
    return torch.where(size > 1e-13 * largest, centred / size, 0.0)


def _indicators(y: Tensor) -> Tensor:
    return one_hot(torch.unique(y, return_inverse=True)[1]).double()


GROUP = "mi/input_estimator"
CHOICES = {"info_nce": InfoNCE}
