"""Ross's terms for several sets of labels from some of the samples: all are neighbours, some are asked for theirs.

A quarter of the terms doubles the standard error of their mean at most, for a quarter of the work. The rows asked are
evenly spaced, the same in every call: along a run their choice moves all values alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from grokplane.mi.memory import Memory
from grokplane.mi.neighbours import TOLERANCE
from grokplane.mi.pairs import EPS, centred
from grokplane.mi.ross_pairs import Classes

BLOCK = 128  # rows at a time: their distances to 2,000 points are 2 MiB
_PEERS: Memory[Tensor] = Memory(256)


def row_terms(x: Tensor, sets: Sequence[Classes], k: int, rows: int) -> list[Tensor]:
    """Ross's summands for each set of labels, of those of `rows` evenly spaced samples that are not alone in a class.

    Squared distances come from products of centred rows, with an error of about 8 (d + 4) eps |x|^2; distances that
    differ by less count as equal. With as many rows as samples, and no ties, the terms are those of `pair_terms`.

    Args:
        x: [N, d].
        sets: of N labels each.
        k: neighbours within the class; a class of k or fewer samples uses all it has.
        rows: how many samples are asked.
    """
    x = centred(x)
    sets = [Classes(of.which.to(x.device), of.size.to(x.device), (), of.alone.to(x.device)) for of in sets]
    peers = [_PEERS.recall(of.which, k, lambda of=of: _peers(of, k)) for of in sets]
    asked = torch.linspace(0, len(x) - 1, min(rows, len(x)), dtype=torch.float64).round().long().to(x.device)
    square = x.square().sum(1)
    slack = 8 * (x.shape[1] + 4) * EPS * square
    terms: list[list[Tensor]] = [[] for _ in sets]
    for part in asked.split(BLOCK):
        gap = torch.addmm(square, x[part], x.T, alpha=-2).add_(square[part, None]).clamp_min_(0)
        for found, of, own in zip(terms, sets, peers, strict=True):
            found.append(_terms(gap, part, slack[part], of, own[part], k))
    return [torch.cat(found) for found in terms]


def _terms(gap: Tensor, part: Tensor, slack: Tensor, of: Classes, own: Tensor, k: int) -> Tensor:
    """The terms of some rows, without those alone in their class.

    Args:
        gap: squared distances of the rows to all samples [r, N].
        part: which samples the rows are [r].
        slack: error of a row's squared distances [r].
        of: the classes of all samples.
        own: the others of each row's class, filled up with the row itself [r, m].
        k: neighbours within the class.
    """
    size = of.size[part]
    inside = gap.gather(1, own).masked_fill_(own == part[:, None], torch.inf)
    order = (size - 1).clamp(1, k)
    radius = inside.topk(min(k, inside.shape[1]), largest=False).values.gather(1, order[:, None] - 1)
    reach = radius * (1 + 2 * TOLERANCE) + slack[:, None]
    near = (inside <= reach).sum(1)
    everywhere = (gap <= reach).sum(1) - 1
    if len(of.alone):
        everywhere -= (gap[:, of.alone] <= reach).sum(1)
    total = torch.tensor(float(len(of.size) - len(of.alone)), dtype=gap.dtype, device=gap.device)
    psi = [torch.digamma(number.to(gap.dtype)) for number in (near, size, everywhere)]
    return (torch.digamma(total) + psi[0] - psi[1] - psi[2])[size > 1]


def _peers(of: Classes, k: int) -> Tensor:
    """For every sample those of its class, filled up with the sample itself to the largest class or k [N, m]."""
    members = of.which.argsort(stable=True).split(of.which.bincount().tolist())
    own = torch.arange(len(of.which), device=of.which.device)[:, None]
    peers = own.repeat(1, max(max(map(len, members)), k))
    for rows in members:
        peers[rows, : len(rows)] = rows
    return peers
