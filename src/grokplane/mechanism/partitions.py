"""Boundaries between the linear regions of a network of ReLU units, near given points."""

from __future__ import annotations

import torch
from torch import Tensor


def cross_polytope(size: int, directions: int, radius: float, generator: torch.Generator) -> Tensor:
    """The vertices r v and -r v of a cross-polytope [2K, d] around the origin, in float64.

    Args:
        size: number of coordinates d.
        directions: number K of random orthonormal directions v; at most d are used.
        radius: distance r of the vertices from the origin.
        generator: random numbers.
    """
    drawn = torch.randn(size, min(directions, size), generator=generator, dtype=torch.float64)
    frame = radius * torch.linalg.qr(drawn).Q.mT
    return torch.cat([frame, -frame])


def crossed(active: Tensor, vertices: int, mask: Tensor) -> Tensor:
    """Mean number [E] of units that are active at some vertices and not at all of them, in float64.

    Args:
        active: the number of vertices around each point at which each unit is active [E, P, U].
        vertices: the number of all vertices.
        mask: points that count [E, P].
    """
    units = ((active > 0) & (active < vertices)).sum(2) * mask
    return units.sum(1).double() / mask.sum(1)
