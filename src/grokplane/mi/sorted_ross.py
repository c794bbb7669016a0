"""Terms of the Ross estimator in one dimension, batched over projections."""

from __future__ import annotations

import torch
from torch import Tensor

from grokplane.mi.sorted1d import count_within, kth_distance


def sorted_ross_terms(x: Tensor, y: Tensor, k: int) -> Tensor:
    """Terms [P, N] of `ross_terms` for each row of x [P, N] with labels y [N]."""
    line, order = x.sort(-1)
    label = y[order]
    radius, near, size = torch.empty_like(line), torch.empty_like(line), torch.empty_like(line)
    for value, count in enumerate(torch.bincount(y).tolist()):
        members = label == value
        inside = line[members].view(len(x), count)
        reach = kth_distance(inside, min(k, count - 1))
        radius[members] = reach.flatten()
        near[members] = count_within(inside, reach, strict=False).double().flatten()
        size[members] = count
    around = count_within(line, radius, strict=False).double()
    total = torch.digamma(x.new_tensor(float(x.shape[-1])))
    terms = total + torch.digamma(near) - torch.digamma(size) - torch.digamma(around)
    return torch.empty_like(terms).scatter_(-1, order, terms)
