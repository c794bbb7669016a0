"""Mirrored questions: the same up to the order of interchangeable operands, as (a, b) and (b, a) are for addition."""

from __future__ import annotations

import torch
from torch import Tensor

from grokplane.data.table import Examples


def mirror_classes(operands: Tensor, targets: Tensor) -> Tensor | None:
    """Numbers [N] int64 that mirrored questions share and no others; None if any two of them have other answers.

    Args:
        operands: residues [N, K] int64, small enough for max^K to fit in int64.
        targets: answers [N, ...] int64.
    """
    base = int(operands.max()) + 1
    places = base ** torch.arange(operands.shape[1])
    classes = (operands.sort(1).values * places).sum(1)
    order = classes.argsort()
    mirrored = classes[order][1:] == classes[order][:-1]
    differ = (targets[order][1:] != targets[order][:-1]).reshape(len(order) - 1, -1).any(1)
    return None if bool((mirrored & differ).any()) else classes


def unseen(examples: Examples) -> Tensor:
    """Which held-out questions [m] have no mirror in training, bool; none where the table has no mirrors."""
    classes = examples.table.mirrors
    if classes is None:
        return torch.zeros(len(examples.test), dtype=torch.bool)
    return ~torch.isin(classes[examples.test], classes[examples.train])
