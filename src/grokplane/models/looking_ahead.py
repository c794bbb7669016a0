"""Whether a module's outputs depend on later inputs, which contain the answer (teacher forcing)."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from grokplane.models.functional import seeded
from grokplane.models.trials import TRIES, Make, close, drawn, made
from grokplane.random import generator


class Ahead(NamedTuple):
    """An output of a module changes with a later input; whether this was found in training mode."""

    output: int
    place: int
    training: bool


def looks_ahead(make: Make, points: Tensor, positions: int) -> Ahead | None:
    """The first output that a trial finds to depend on a later input; None: the module is causal.

    Output t of T is read at input L - T + t. The trial changes one input of newly drawn points at a time, with
    perturbed weights, first in evaluation and then in training. The module's random numbers are the same in all passes.

    Args:
        make: builds the module from a generator and a dtype.
        points: some of the task's points [N, L]; the trial's points have entries of these.
        positions: number of outputs T.
    """
    for training, number in product((False, True), range(TRIES)):
        found = _ahead(made(make, number).train(training), points, positions, number)
        if found is not None:
            return Ahead(*found, training)
    return None


def _ahead(module: nn.Module, points: Tensor, positions: int, number: int) -> tuple[int, int] | None:
    batch, others = drawn(points, number), drawn(points, TRIES + number)
    first = batch.shape[1] - positions  # the input at which output 0 is read
    buffers = [(value, value.clone()) for value in module.buffers()]

    def outputs(inputs: Tensor) -> Tensor:
        with torch.no_grad(), seeded(generator(number, "trial")):
            found = module(inputs)
            for value, old in buffers:
                value.copy_(old)
        return found

    before = outputs(batch)
    for place in range(first + 1, batch.shape[1]):
        changed = batch.clone()
        changed[:, place] = others[:, place]
        after = outputs(changed)
        for output in range(place - first):
            if not close(before[:, output], after[:, output]):
                return output, place
    return None
