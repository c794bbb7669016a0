"""Greedy decoding: an answer token by token, each fed back to the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from grokplane.answers import LabelSequence


def decode(
    forward: Callable[[Tensor], Tensor], questions: Sequence[Tensor], answers: LabelSequence, length: int
) -> list[Tensor]:
    """The outputs [n, C] of each answer's n tokens, each given the tokens before it as the network answers them.

    Args:
        forward: inputs [Q, L] to outputs [Q, T, C].
        questions: Q questions without their answers, [K] with K <= L.
        answers: how they are fed back.
        length: number of inputs L.
    """
    inputs, positions = torch.zeros(len(questions), length, dtype=torch.int64), answers.length
    for row, question in zip(inputs, questions, strict=True):
        row[: len(question)] = question
    first = torch.tensor([len(question) - 1 - (length - positions) for question in questions])
    outputs = forward(inputs)
    for place in range(positions - 1):
        token = outputs[:, place].max(-1).indices
        fed = inputs[:, length - positions + place + 1]
        fed.copy_(torch.where(first <= place, token, fed))
        outputs = forward(inputs)
    return [answers.answered(own[start:]) for own, start in zip(outputs, first.tolist(), strict=True)]
