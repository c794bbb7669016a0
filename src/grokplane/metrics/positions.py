"""The positions of layers that answers are read from, for answers that are sequences."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from grokplane.answers import NOT_SCORED
from grokplane.metrics.subset import Subset


def at_question(values: Tensor, subset: Subset) -> Tensor:
    """A layer where it knows the question and not yet the answer: [E, n, K, F] -> [E, n, F].

    If inputs contain the answer (teacher forcing), the values of later positions do too. Each point is looked at where
    the first token of its answer is read. Other layers, and those of other answers, are unchanged.
    """
    first, before = subset.answers.first_read(subset.targets), _before(values, subset)
    if first is None or before is None:
        return values
    places = (first + before)[:, :, None, None].expand(-1, -1, 1, values.shape[3])
    return values.gather(2, places).squeeze(2)


def scored_positions(values: Tensor, subset: Subset) -> Tensor | None:
    """Whether a token is scored at each position of a layer [E, n, K, F], as [E, n, K]; None: it has no positions."""
    before = _before(values, subset)
    return None if before is None else F.pad(subset.targets != NOT_SCORED, (before, 0))


def _before(values: Tensor, subset: Subset) -> int | None:
    """How many positions a layer has before the T that are read; None: it has no positions.

    A layer [E, n, K, F] has positions if K is T, or the number L of input tokens, as in a user's own module.
    """
    read = subset.answers.positions
    if read is None or values.dim() != 4:
        return None
    positions = values.shape[2]
    return positions - read if positions in (read, subset.source.inputs(slice(0, 1)).shape[-1]) else None
