"""Parallelograms of embeddings: the representation quality index of Liu et al. 2022, arXiv 2205.10343."""

from __future__ import annotations

from functools import lru_cache
from math import prod

import torch
from torch import Tensor

from grokplane.mechanism.centring import centred


@lru_cache(maxsize=16)
def parallelograms(orders: tuple[int, ...], wrapped: bool, most: int, seed: int) -> Tensor:
    """Elements (i, j, m, n) [Q, 4] with i + j = m + n, of two distinct unordered pairs {i, j} and {m, n}.

    All of them if there are at most `most`; else `most` drawn uniformly with replacement. i = j and m = n are included.

    Args:
        orders: the group is the product of cyclic groups of these orders, see `OperandGroup.orders`.
        wrapped: whether i + j is the sum in the group; otherwise coordinates are added as integers.
        most: largest Q.
        seed: of the drawing.
    """
    pairs = torch.combinations(torch.arange(prod(orders)), with_replacement=True)
    order = torch.sort(_sums(pairs, orders, wrapped), stable=True)
    pairs, sizes = pairs[order.indices], order.values.unique_consecutive(return_counts=True)[1]
    ends = (sizes * (sizes - 1) // 2).cumsum(0)
    total = int(ends[-1])
    if total <= most:
        places = torch.arange(total)
    else:
        places = torch.randint(total, (most,), generator=torch.Generator().manual_seed(seed))
    sums = torch.searchsorted(ends, places, right=True)
    before = ends[sums] - sizes[sums] * (sizes[sums] - 1) // 2
    lower, upper = _unordered(places - before)
    start = (sizes.cumsum(0) - sizes)[sums]
    return torch.cat([pairs[start + lower], pairs[start + upper]], 1)


def _sums(pairs: Tensor, orders: tuple[int, ...], wrapped: bool) -> Tensor:
    """A number [P] for each pair [P, 2], equal for equal sums."""
    total, rest = torch.zeros(len(pairs), dtype=torch.int64), pairs
    radix = 1
    for order in reversed(orders):
        digits = (rest % order).sum(1)
        total += radix * (digits % order if wrapped else digits)
        radix *= order if wrapped else 2 * order - 1
        rest = rest // order
    return total


def _unordered(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs l < u of numbers [Q] in the order (0, 1), (0, 2), (1, 2), (0, 3), ..."""
    upper = ((1 + (1 + 8 * numbers.double()).sqrt()) / 2).floor().long()
    return numbers - upper * (upper - 1) // 2, upper


def quality(embeddings: Tensor, corners: Tensor, tolerance: float) -> Tensor:
    """Share [E] of parallelograms [Q, 4] that hold for embeddings [E, n, D].

    One holds if |E_i + E_j - E_m - E_n| <= tolerance * s, where s is the root mean square distance of the embeddings to
    their mean. NaN if all embeddings are equal.
    """
    values, _ = centred(embeddings, torch.ones_like(embeddings[..., 0], dtype=torch.bool))
    gram = values @ values.mT
    spread = gram.diagonal(dim1=1, dim2=2).mean(1, keepdim=True)
    squares = torch.zeros((), dtype=gram.dtype, device=gram.device)
    signs = (1, 1, -1, -1)
    for first in range(4):
        for second in range(4):
            products = gram.flatten(1)[:, corners[:, first] * gram.shape[1] + corners[:, second]]
            squares = squares + signs[first] * signs[second] * products
    share = (squares <= tolerance**2 * spread).double().mean(1)
    return torch.where(spread[:, 0] > 0, share, torch.nan)
