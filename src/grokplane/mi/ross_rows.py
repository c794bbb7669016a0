"""Ross's estimate of several label sets from some of the samples: all are neighbours, some are asked for theirs.

Its terms average over the samples; a quarter of them doubles the standard error at most, for a quarter of the work. The
rows asked are evenly spaced, the same in every call: along a run their choice moves all values alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from grokplane.mi.base import Estimate, check_count, labels, mean_of, samples
from grokplane.mi.memory import Memory
from grokplane.mi.neighbours import TOLERANCE
from grokplane.mi.pairs import EPS, centred

BLOCK = 128  # rows at a time: their distances to 2,000 points are 2 MiB
_PEERS: Memory[tuple[Tensor, Tensor, Tensor]] = Memory(256)


def ross_rows(x: Tensor, sets: Sequence[Tensor], k: int = 3, rows: int = 500) -> list[Estimate]:
    """I(X;Y) for each set of labels, as `Ross(k)`, from `rows` evenly spaced samples and all their neighbours.

    Squared distances come from products of centred rows, with an error of about 8 (d + 4) eps |x|^2; distances that
    differ by less count as equal. With as many rows as samples, and no ties, the values are those of `Ross`.

    Args:
        x: [N, d].
        sets: labels [N] each. A sample whose label occurs once is left out of its set.
        k: neighbours within the class; a class of k or fewer samples uses all it has.
        rows: how many samples are asked.

    Returns:
        one estimate a set. Standard error: deviation of the terms over the root of their number.

    Raises:
        ValueError: as `Ross`; also where a set leaves no row to ask.
    """
    x = centred(samples(x))
    peers = [_peers_of(labels(y), k) for y in sets]
    asked = torch.linspace(0, len(x) - 1, min(rows, len(x)), dtype=torch.float64).round().long()
    square = x.square().sum(1)
    slack = 8 * (x.shape[1] + 4) * EPS * square
    terms: list[list[Tensor]] = [[] for _ in sets]
    for part in asked.split(BLOCK):
        gap = torch.addmm(square, x[part], x.T, alpha=-2).add_(square[part, None]).clamp_min_(0)
        for found, of in zip(terms, peers, strict=True):
            found.append(_terms(gap, part, slack[part], *of, k))
    return [_estimate(torch.cat(found)) for found in terms]


def _estimate(terms: Tensor) -> Estimate:
    kept = terms[~terms.isnan()]
    check_count(len(kept), 2, "the rows asked whose label occurs twice")
    return mean_of(kept)


def _terms(gap: Tensor, part: Tensor, slack: Tensor, peers: Tensor, size: Tensor, alone: Tensor, k: int) -> Tensor:
    """Ross's terms of some rows, NaN where a label occurs once.

    Args:
        gap: squared distances of the rows to all samples [r, N].
        part: which samples the rows are [r].
        slack: error of a row's squared distances [r].
        peers: for every sample the others of its label, filled up with the sample itself [N, m].
        size: samples of its label [N].
        alone: samples whose label occurs once [N], which are nobody's neighbours.
        k: neighbours within the class.
    """
    own = peers[part]
    inside = gap.gather(1, own).masked_fill_(own == part[:, None], torch.inf)
    order = (size[part] - 1).clamp(1, k)
    radius = inside.topk(min(k, inside.shape[1]), largest=False).values.gather(1, order[:, None] - 1)
    reach = radius * (1 + 2 * TOLERANCE) + slack[:, None]
    near = (inside <= reach).sum(1)
    everywhere = (gap <= reach).sum(1) - 1
    if bool(alone.any()):
        everywhere -= (gap[:, alone] <= reach).sum(1)
    total = torch.tensor(float(len(size) - int(alone.sum())), dtype=gap.dtype, device=gap.device)
    psi = [torch.digamma(number.to(gap.dtype)) for number in (near, size[part], everywhere)]
    terms = torch.digamma(total) + psi[0] - psi[1] - psi[2]
    return torch.where(alone[part], torch.nan, terms)


def _peers_of(y: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Peers [N, m], class sizes [N] and lone samples [N] of labels; the same in every call of a run, so remembered."""

    def made() -> tuple[Tensor, Tensor, Tensor]:
        which = torch.unique(y, return_inverse=True)[1]
        members = [torch.nonzero(which == label).squeeze(1) for label in range(int(which.max()) + 1)]
        most = max(max(map(len, members)), k)
        own = torch.arange(len(y), device=y.device)[:, None]
        peers = own.expand(-1, most).clone()
        for rows in members:
            peers[rows, : len(rows)] = rows
        size = torch.bincount(which)[which]
        return peers, size, size == 1

    return _PEERS.recall(y, k, made)
