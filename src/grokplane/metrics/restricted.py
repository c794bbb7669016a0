"""Losses of the outputs with parts of their Fourier transform kept or taken out (Nanda et al. 2023)."""

from __future__ import annotations

from typing import NamedTuple

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
    frame = grid.frame
    mean, varying = grid.of(seen.table_outputs)
    means = grid.means(varying)
    answer = _Part(*_answer(seen, grid, [pairs.filtered(frame.waves, key, one) for one in means[:2]]))
    pair = torch.arange(frame.order**2 + 1, device=key.device).expand(len(key), -1)
    kept = {
        "Loss_restricted": _Part(answer.values + mean[:, None], answer.variable),
        "Loss_restricted_operands": _Part(_of_operands(frame, key, varying) + mean[:, None], pair),
    }
    removed = {"Loss_excluded": answer}
    for name, variable, values in zip(pairs.FAMILIES, frame.variable, means, strict=True):
        found = pairs.filtered(frame.waves, kept_of(frame, name), values)
        removed[f"Loss_without_{name}"] = _Part(found, variable)
    losses = {}
    for split, subset in seen.splits.items():
        cells, outputs = grid.cells.gather(1, subset.rows), subset.outputs
        real = (cells < frame.order**2)[..., None]
        for name, part in kept.items():
            losses[f"{name}/{split}"] = _loss(subset, torch.where(real, part.at(cells, outputs.dtype), outputs))
        for name, part in removed.items():
            losses[f"{name}/{split}"] = _loss(subset, outputs - part.at(cells, outputs.dtype))
    return losses


class _Part(NamedTuple):
    """A function of pairs that depends on one element.

    Attributes:
        values: by element [E, n, C].
        variable: the element of each pair [E, n^2 + 1]; n for the last one, where the function is zero.
    """

    values: Tensor
    variable: Tensor

    def at(self, cells: Tensor, dtype: torch.dtype) -> Tensor:
        """The function at pairs [E, N]: [E, N, C]."""
        return pairs.spread(self.values.to(dtype), self.variable.gather(1, cells))


def kept_of(frame: Frame, family: str) -> Tensor:
    """The frequencies that count for a family [E, M], bool."""
    return frame.exists & ~frame.alone if family == "difference" else frame.exists


def _answer(seen: Observation, grid: Grid, values: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The one of two functions [E, n, C], of a∘b or of a∘b^-1, whose variable is the answer, and this variable.

    The function is NaN if neither is the answer of all pairs.
    """
    targets = seen.over_table(lambda subset: subset.targets if subset.true_targets is None else subset.true_targets)
    element = grid.frame.elements.gather(1, targets)
    variables = grid.frame.variable[:2]
    fits = [((one.gather(1, grid.cells) == element) | ~grid.real).all(1) for one in variables]
    product, quotient = (one[:, None, None] for one in fits)
    function = torch.where(product, values[0], torch.where(quotient, values[1], torch.nan))
    return function, torch.where(fits[0][:, None], *variables)


def _of_operands(frame: Frame, key: Tensor, values: Tensor) -> Tensor:
    """Projection of functions of pairs [E, n^2 + 1, R] on key and constant frequencies of both operands [E, n^2, R]."""
    n = frame.order
    constant = torch.arange(key.shape[1], device=key.device) == 0
    basis = (frame.waves * (key | constant)[:, None, :, None]).flatten(1, 2)
    projection = torch.bmm(basis.mT, basis).to(values.dtype)
    rows = torch.bmm(projection, values[:, :-1].unflatten(1, (n, n)).flatten(2)).unflatten(2, (n, -1))
    return torch.matmul(projection[:, None], rows).flatten(1, 2)


def _loss(subset: Subset, outputs: Tensor) -> Tensor:
    """Mean loss [E] of a subset with other outputs [E, n, C]."""
    return subset.mean(subset.source.losses(outputs, subset.targets))
