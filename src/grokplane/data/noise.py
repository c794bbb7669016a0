"""Label noise: some training answers are replaced by wrong ones."""

from __future__ import annotations

import torch
from torch import Tensor

from grokplane.data.splits import part_of
from grokplane.options import ConfigError
from grokplane.random import generator


def with_label_noise(targets: Tensor, amount: float, seed: int) -> Tensor:
    """Replace some answers [n, ...], each by another answer that occurs among them, drawn uniformly.

    So a held-out answer is never seen in training, not even as noise. With the same seed, more noise contains the wrong
    answers of less noise.

    Args:
        targets: true answers [n] int64, or sequences of labels [n, T].
        amount: below 1 a fraction, int(amount * n) answers; from 1 on the number of answers.
        seed: the member's seed.

    Raises:
        ConfigError: the amount is not a whole number, is more than n, or is a fraction that gives no answer; or any
            noise if all answers are the same.
    """
    if amount == 0:
        return targets
    count = _noisy_count(len(targets), amount)
    labels, place = targets.unique(dim=0, return_inverse=True)
    if len(labels) < 2:
        raise ConfigError("data.label_noise", amount, "must be 0 where all training answers are the same")
    random = generator(seed, "label noise")
    chosen = torch.randperm(len(targets), generator=random)[:count]
    shifts = torch.randint(1, len(labels), (len(targets),), generator=random)[:count]
    noisy = targets.clone()
    noisy[chosen] = labels[(place[chosen] + shifts) % len(labels)]
    return noisy


def _noisy_count(total: int, amount: float) -> int:
    count = part_of(total, amount) if amount < 1 else int(amount)
    if count < 1 or count > total or (amount >= 1 and count != amount):
        allowed = (
            f"must be 0, a fraction that is at least one of the {total} training answers, or a whole number of them"
        )
        raise ConfigError("data.label_noise", amount, allowed)
    return count
