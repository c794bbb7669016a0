"""What is done with equal values: a side that has some is not continuous, and neighbours alone would mislead.

The information of X is that of any variable from which X can be read off. So values that
are equal, or on a lattice, are drawn apart (`spread`): X can still be read off, independent sides stay independent,
and the new variable has a density. A side of several columns of two values (one-hot
rows) becomes the number of its value first. What has no equal values stays as it is, to
the bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from grokplane.mi.degenerate import distinct, independent, varying
from grokplane.random import generator

FEW = 10  # repeats of a value that are no accident; of rows in the mean: they are those of a discrete variable
TELLING = 8  # steps between values that show a lattice where no two are equal
ON_LATTICE = 1e-3  # of a cell: round-off of a place in float32
ROUND_OFF = 16 * torch.finfo(torch.float64).eps  # of the largest value of a column
APART = 1000  # times as far as round-off are values that differ
FINE = 100  # places of a lattice a sample, beyond which neighbours do not see it


def spread(x: Tensor, side: str) -> Tensor:
    """Samples whose columns are neither a lattice nor hold a value twice.

    On a lattice (all distances multiples of the smallest) every value becomes uniform in its cell; where no value of a
    lattice occurs twice (ranks, a grid) no sample of a density would lie so evenly, and the values become as many
    uniform ones, in their order. Elsewhere a value
    that occurs twice or a few times becomes uniform within half the distance to the nearest other value; for one
    that occurs often (the 0 of a ReLU) room is made first: what lies above it is moved up, for all its repeats to be
    as far apart as values usually are. Each of these maps can be undone.

    Args:
        x: [..., N, d] float64.
        side: names the stream of the numbers drawn, for the two sides must not share one.

    Returns:
        [..., N, d]; x itself where there is nothing to do, and columns that are constant as they are.
    """
    line, order = x.sort(-2)
    step = line.diff(dim=-2)
    cell = _cell(step)
    if not bool(((step == 0) | (cell > 0)).any()):
        return x
    draws = torch.rand(x.shape[-2:], dtype=x.dtype, generator=generator(0, f"equal values/{side}")).to(x.device)
    even = line[..., :1, :] + draws.sort(-2).values * (line[..., -1:, :] - line[..., :1, :])
    drawn = torch.where((step == 0).any(-2, keepdim=True), line + (draws - 0.5) * cell, even)
    moved = torch.where(cell > 0, drawn, _parted(line, step, draws))
    return torch.empty_like(x).scatter_(-2, order, moved)


def _cell(step: Tensor) -> Tensor:
    """Smallest distance [..., 1, d] of columns on a lattice, from the steps [..., N - 1, d] upwards; elsewhere 0.

    A lattice so fine that hardly a hundredth of its places could be taken is none: neighbours do not see it.
    """
    least = step.where(step > 0, torch.inf).amin(-2, keepdim=True)
    places = step / least
    on = (places - places.round()).abs().amax(-2, keepdim=True) < ON_LATTICE
    seen = (places.sum(-2, keepdim=True) < FINE * (step.shape[-2] + 1)) & least.isfinite()
    told = (step > 0).sum(-2, keepdim=True) >= TELLING
    return torch.where(on & seen & (told | (step == 0).any(-2, keepdim=True)), least, 0)


def _parted(line: Tensor, step: Tensor, draws: Tensor) -> Tensor:
    """Ascending values [..., N, d] with equal ones drawn apart; the steps between them are [..., N - 1, d]."""
    place = torch.arange(line.shape[-2], device=line.device)[:, None].expand_as(line)
    edge = torch.full_like(step[..., :1, :], torch.inf)
    up, down = torch.cat([step, edge], -2), torch.cat([edge, step], -2)
    first = place.where(down > 0, 0).cummax(-2).values
    last = place.where(up > 0, line.shape[-2]).flip(-2).cummin(-2).values.flip(-2)
    repeats = last - first + 1
    usual = step.where(step > 0, torch.nan).nanmedian(-2, keepdim=True).values.nan_to_num()
    made = torch.where(repeats >= FEW, repeats * usual, 0)
    below = torch.cumsum(made.where(place == last, 0), -2) - made.where(place == last, 0)
    room = torch.minimum(up.gather(-2, last), down.gather(-2, first))
    room = torch.where((repeats > 1) & (made == 0) & room.isfinite(), room, 0)
    return line + below + draws * made + (draws - 0.5) * room


def on_lattice(x: Tensor) -> bool:
    """Whether a column of x [..., N, d] lies on a lattice that neighbours see, as rounded values do."""
    return bool((_cell(x.sort(-2).values.diff(dim=-2)) > 0).any())


def observations(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """x [N, dx] and y [N, dy], `settled`, without rows (x, y) that are the same observation once more.

    Where a side is continuous, a pair of rows that repeats is no chance and tells nothing new: it is left out. Where
    both sides have equal rows beside such pairs, or a pair occurs ten times (a mass point on either side), how often a
    pair occurs is what they tell: all rows are kept.
    """
    x, y = settled(x), settled(y)
    rows, which = distinct(torch.cat([x, y], 1))
    if len(rows) == len(x) or int(torch.bincount(which).max()) >= FEW:
        return x, y
    sides = rows[:, : x.shape[1]], rows[:, x.shape[1] :]
    return (x, y) if all(len(distinct(side)[0]) < len(rows) for side in sides) else sides


def settled(x: Tensor) -> Tensor:
    """x [N, d] with values made equal that differ by round-off alone, as sums and means of rounded values do.

    Only in columns in which every other step is far larger: neighbours would take round-off for structure, but a column
    that is continuous, or has narrow clusters, stays as it is, to the bit.
    """
    line, order = x.sort(0)
    step = line.diff(dim=0)
    small = ROUND_OFF * torch.maximum(line[:1].abs(), line[-1:].abs())
    near = (step > 0) & (step <= small)
    told = near.any(0) & ~((step > small) & (step <= APART * small)).any(0)
    if not bool(told.any()):
        return x
    place = torch.arange(len(x), device=x.device)[:, None].expand_as(x)
    starts = torch.cat([torch.ones_like(near[:1]), (step > small) | ~told])
    first = place.where(starts, 0).cummax(0).values
    return torch.empty_like(x).scatter_(0, order, line.gather(0, first))


def values(x: Tensor) -> Tensor:
    """x [N, d], or the numbers [N, 1] of its distinct rows where these are few and no column takes over two values."""
    if x.shape[1] < 2 or bool(((x != x.amin(0)) & (x != x.amax(0))).any()):
        return x
    rows, which = distinct(x)
    return which[:, None].to(x) if len(rows) * FEW <= len(x) else x


def continuous(x: Tensor, y: Tensor, full_rank: bool) -> tuple[Tensor, Tensor]:
    """Both sides without rows that repeat an observation, needless columns and equal values.

    Args:
        x, y: [N, dx], [N, dy].
        full_rank: leave columns out that are linear combinations of others, not constant ones alone.

    Raises:
        ValueError: with `full_rank`, if a linear combination of one side equals one of the other and neither is
            discrete (infinite information), or for too few rows.
    """
    x, y = observations(x, y)
    x, y = (independent(x, "x"), independent(y, "y")) if full_rank else (varying(x), varying(y))
    if x.shape[1] == 0 or y.shape[1] == 0:
        return x, y
    if full_rank:
        dense = [side[:, [2 * len(column.unique()) > len(column) for column in side.T]] for side in (x, y)]
        if all(side.shape[1] for side in dense):  # a copy of a discrete column is finite information
            check_apart(*dense)
    x, y = (spread(values(side), name) for side, name in ((x, "x"), (y, "y")))
    return x, y


def check_apart(x: Tensor, y: Tensor) -> None:
    """Refuse sides of full rank of which a linear combination of one equals one of the other.

    Raises:
        ValueError: saying that their information is infinite, or that there are too few rows to tell.
    """
    if independent(torch.cat([x, y], 1), "(x, y)").shape[1] < x.shape[1] + y.shape[1]:
        raise ValueError("a linear combination of x equals one of y: their mutual information is infinite")
