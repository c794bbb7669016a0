"""Nearest neighbours in one dimension by sorting, batched over sample sets."""

from __future__ import annotations

import torch
from torch import Tensor

from grokplane.mi.neighbours import TOLERANCE


def kth_distance(x: Tensor, k: int) -> Tensor:
    """Distance to the k-th nearest other point [..., n], for x [..., n] in ascending order and k < n.

    The k nearest points are consecutive: a below and k - a above, for the a that minimises the larger gap.
    """
    edge = x.new_full((*x.shape[:-1], k), torch.inf)
    padded = torch.cat([-edge, x, edge], -1)
    count = x.shape[-1]
    best = torch.full_like(x, torch.inf)
    for below in range(k + 1):
        low = padded[..., k - below : k - below + count]
        high = padded[..., 2 * k - below : 2 * k - below + count]
        best = torch.minimum(best, torch.maximum(x - low, high - x))
    return best


def count_within(x: Tensor, radius: Tensor, *, strict: bool) -> Tensor:
    """Number of other points within each point's radius, for x [B, n] in ascending order and radius [B, n].

    As in `neighbours.counts`, distances within a relative 1e-12 of the radius are equal to it. Distances are the
    rounded differences, so that both functions give the same counts.

    Returns:
        [B, n] int64.
    """
    reach = radius * (1 - TOLERANCE if strict else 1 + TOLERANCE)
    above = _end(x, reach)
    below = x.shape[-1] - _end(-x.flip(-1), reach.flip(-1)).flip(-1)
    found = above - below - 1
    return found.where(radius > 0, torch.zeros_like(found)) if strict else found


def _end(x: Tensor, reach: Tensor) -> Tensor:
    """Index [B, n] of the first point after each point whose difference x_j - x_i exceeds the reach.

    x_i + reach is rounded, so a search for it may misplace points within a few units in the last place; a bisection on
    the difference itself decides those.
    """
    x = x.contiguous()
    slack = 4 * torch.finfo(x.dtype).eps * (x.abs() + reach)
    own = torch.arange(x.shape[-1], device=x.device)
    low = torch.searchsorted(x, x + reach - slack, right=True).maximum(own + 1)
    high = torch.searchsorted(x, x + reach + slack, right=True).maximum(low)
    while bool((low < high).any()):
        middle = (low + high) // 2
        value = x.gather(-1, middle.clamp_max(x.shape[-1] - 1))
        inside = (value - x <= reach) & (low < high)
        low, high = torch.where(inside, middle + 1, low), torch.where(inside, high, torch.minimum(high, middle))
    return low
