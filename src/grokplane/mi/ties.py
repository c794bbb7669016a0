"""Treatment of equal values: a side with ties is not continuous, and nearest-neighbour estimates of it are wrong.

Mutual information is unchanged if X is replaced by a variable that determines X and adds only independent noise. Values
that are equal or on a lattice are therefore spread apart (`spread`): X can be recovered, independent sides stay
independent, and the new variable has a density. A side of several two-valued columns (one-hot rows) is first replaced
by the index of its value. A side without ties is unchanged, to the last bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from grokplane.mi.degenerate import distinct, independent, varying
from grokplane.random import generator

FEW = 10  # this many repeats of a value are no accident; a mean of this many per row means a discrete variable
TELLING = 8  # number of steps between values that establish a lattice if no two values are equal
ON_LATTICE = 1e-3  # largest distance from a lattice point, in cells: float32 round-off
ROUND_OFF = 16 * torch.finfo(torch.float64).eps  # relative to the largest value of a column
APART = 1000  # values that really differ are this many times farther apart than round-off
FINE = 100  # lattice points per sample beyond which nearest neighbours do not resolve the lattice


def spread(x: Tensor, side: str) -> Tensor:
    """Spread equal values apart, so that no column lies on a lattice or has a value twice.

    On a lattice (all distances are multiples of the smallest), every value becomes uniform in its cell. If no value of
    a lattice occurs twice (ranks, a grid), the values are more even than a sample of a density; they are replaced by as
    many uniform values in the same order. Off a lattice, a value that occurs a few times becomes uniform within half
    the distance to the nearest other value. For a value that occurs often (the 0 of a ReLU) the values above it are
    first moved up, so that its repeats can be as far apart as values typically are. Each of these maps is invertible.

    Args:
        x: [..., N, d] float64.
        side: name of the random stream, which must differ between the two sides.

    Returns:
        [..., N, d]; x itself if no column has ties. Constant columns are unchanged.
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
    """Cell size [..., 1, d] of columns on a lattice, from the steps [..., N - 1, d] between sorted values; else 0.

    A lattice with more than 100 points per sample is ignored, because nearest neighbours do not resolve it.
    """
    least = step.where(step > 0, torch.inf).amin(-2, keepdim=True)
    places = step / least
    on = (places - places.round()).abs().amax(-2, keepdim=True) < ON_LATTICE
    seen = (places.sum(-2, keepdim=True) < FINE * (step.shape[-2] + 1)) & least.isfinite()
    told = (step > 0).sum(-2, keepdim=True) >= TELLING
    return torch.where(on & seen & (told | (step == 0).any(-2, keepdim=True)), least, 0)


def _parted(line: Tensor, step: Tensor, draws: Tensor) -> Tensor:
    """Spread equal values of `line` [..., N, d] apart; it is in ascending order, with steps [..., N - 1, d]."""
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
    """Whether a column of x [..., N, d] lies on a lattice that nearest neighbours resolve, as rounded values do."""
    return bool((_cell(x.sort(-2).values.diff(dim=-2)) > 0).any())


def observations(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Remove rows (x, y) that repeat an observation, from `settled` x [N, dx] and y [N, dy].

    If a side is continuous, a repeated pair is the same observation and is left out. If both sides also have equal rows
    in different pairs, or a pair occurs ten times (an atom on either side), the frequency of a pair is information and
    all rows are kept.
    """
    x, y = settled(x), settled(y)
    rows, which = distinct(torch.cat([x, y], 1))
    if len(rows) == len(x) or int(torch.bincount(which).max()) >= FEW:
        return x, y
    sides = rows[:, : x.shape[1]], rows[:, x.shape[1] :]
    return (x, y) if all(len(distinct(side)[0]) < len(rows) for side in sides) else sides


def settled(x: Tensor) -> Tensor:
    """Make values of x [N, d] equal that differ only by round-off, as sums and means of rounded values do.

    Nearest neighbours would treat round-off as structure. Only columns in which every other step is far larger change;
    a column that is continuous or has narrow clusters is unchanged, to the last bit.
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
    """x [N, d], or the indices [N, 1] of its distinct rows if these are few and no column has more than two values."""
    if x.shape[1] < 2 or bool(((x != x.amin(0)) & (x != x.amax(0))).any()):
        return x
    rows, which = distinct(x)
    return which[:, None].to(x) if len(rows) * FEW <= len(x) else x


def continuous(x: Tensor, y: Tensor, full_rank: bool) -> tuple[Tensor, Tensor]:
    """Remove repeated observations and redundant columns from both sides, and spread equal values apart.

    Args:
        x, y: [N, dx], [N, dy].
        full_rank: leave out linear combinations of other columns, not only constant columns.

    Raises:
        ValueError: with `full_rank`, if a linear combination of x equals one of y and neither is discrete (infinite
            information), or for too few rows.
    """
    x, y = observations(x, y)
    x, y = (independent(x, "x"), independent(y, "y")) if full_rank else (varying(x), varying(y))
    if x.shape[1] == 0 or y.shape[1] == 0:
        return x, y
    if full_rank:
        dense = [side[:, [2 * len(column.unique()) > len(column) for column in side.T]] for side in (x, y)]
        if all(side.shape[1] for side in dense):  # a copy of a discrete column has finite information
            check_apart(*dense)
    x, y = (spread(values(side), name) for side, name in ((x, "x"), (y, "y")))
    return x, y


def check_apart(x: Tensor, y: Tensor) -> None:
    """Check that no linear combination of x equals one of y, for sides of full rank.

    Raises:
        ValueError: if one does (infinite information), or if there are too few rows to decide.
    """
    if independent(torch.cat([x, y], 1), "(x, y)").shape[1] < x.shape[1] + y.shape[1]:
        raise ValueError("a linear combination of x equals one of y: their mutual information is infinite")
