"""Losses of the outputs with parts of their Fourier transform kept or taken out (Nanda et al. 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from grokplane.mechanism import pairs
from grokplane.metrics.observation import Observation, Subset
from grokplane.metrics.pair_grid import Frame, Grid


def restricted_losses(seen: Observation, grid: Grid, key: Tensor) -> dict[str, Tensor]:
    """Losses [E] by name and split, each over the whole subset.

    - `Loss_restricted`: of the mean over all pairs plus the projection on the key frequencies of the answer.
    - `Loss_restricted_operands`: of the projection on all characters of pairs with a key frequency or 0 in a and in b.
    - `Loss_excluded`: of the outputs without the key frequencies of the answer.
    - `Loss_without_<family>`: of the outputs without all frequencies of a family.

    Questions with an operand that is no element keep their outputs. Projecting the inputs of a linear read-out gives
    the same as projecting the outputs.

    Args:
        seen: the log point.
        grid: its questions as pairs of elements.
        key: key frequencies [E, M], bool.
    """
    frame, outputs = grid.frame, seen.table_outputs
    mean, varying = grid.of(outputs)
    means = grid.means(varying)
    places = [variable.gather(1, grid.cells) for variable in frame.variable]

    def part(family: int, kept: Tensor) -> Tensor:
        found = pairs.filtered(frame.waves, kept, means[family])
        return pairs.spread(found.to(outputs.dtype), places[family])

    is_product, is_quotient = (_answers_are(seen, grid, place)[:, None, None] for place in places[:2])
    of_answer = torch.where(is_product, part(0, key), torch.where(is_quotient, part(1, key), torch.nan))
    of_operands = pairs.spread(_of_operands(frame, key, varying), grid.cells)
    real = grid.real[..., None]
    variants = {
        "Loss_restricted": torch.where(real, mean[:, None] + of_answer, outputs),
        "Loss_restricted_operands": torch.where(real, mean[:, None] + of_operands, outputs),
        "Loss_excluded": torch.where(real, outputs - of_answer, outputs),
    }
    for number, name in enumerate(pairs.FAMILIES):
        variants[f"Loss_without_{name}"] = outputs - part(number, kept_of(frame, name))
    return {
        f"{name}/{split}": _loss(subset, values)
        for name, values in variants.items()
        for split, subset in seen.splits.items()
    }


def kept_of(frame: Frame, family: str) -> Tensor:
    """The frequencies that count for a family [E, M], bool."""
    return frame.exists & ~frame.alone if family == "difference" else frame.exists


def _answers_are(seen: Observation, grid: Grid, place: Tensor) -> Tensor:
    """Whether the answers of all pairs are the elements at a place [E, N]: flags [E], bool."""
    targets = seen.over_table(lambda subset: subset.targets if subset.true_targets is None else subset.true_targets)
    return ((place == grid.frame.elements.gather(1, targets)) | ~grid.real).all(1)


def _of_operands(frame: Frame, key: Tensor, values: Tensor) -> Tensor:
    """Projection of functions of pairs [E, n^2 + 1, R] on key and constant frequencies of both operands [E, n^2, R]."""
    n = frame.order
    constant = torch.arange(key.shape[1], device=key.device) == 0
    basis = (frame.waves * (key | constant)[:, None, :, None]).flatten(1, 2)
    projection = torch.bmm(basis.mT, basis).to(values.dtype)
    rows = torch.bmm(projection, values[:, :-1].unflatten(1, (n, n)).flatten(2)).unflatten(2, (n, -1))
    return torch.matmul(projection[:, None], rows).flatten(1, 2)


def _loss(subset: Subset, outputs: Tensor) -> Tensor:
    """Mean loss [E] of a subset with other outputs in table order [E, N, C]."""
    return subset.mean(subset.source.losses(pairs.spread(outputs, subset.rows), subset.targets))
