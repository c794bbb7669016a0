"""Ross's terms for several sets of labels of one sample from its matrix of squared distances.

The distances (`pairs`) are computed once for all labels. Those within a class give each point's radius, then tiles of
the whole matrix are compared with the radii, row by row and column by column.

Round-off: a squared distance d^2 <= r_i^2 errs by at most e_i = 8 (d + 4) eps |x_i|^2 (x about its mean), and radii are
widened by 2 e_i, so ties stay ties and the k-th neighbour is always within. Where e_i > 1e-9 r_i^2, exact duplicates
(r_i = 0) among them, the point is done by differences of coordinates. So distances count as equal if they agree to a
relative 1e-12, as everywhere, or, in the worst case, 2e-9.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from grokplane.mi.base import check_count, labels
from grokplane.mi.memory import Memory
from grokplane.mi.neighbours import TOLERANCE
from grokplane.mi.pairs import COLUMNS, EPS, LANES, ROWS, centred, factors, squared_gaps, tiles

UNSURE = 1e-9  # relative error of a squared radius beyond which the point is done by differences
TINY = 1e-300  # keeps an error above 0
BATCH = 2**17  # squared distances within classes at a time
FEW = 2**15  # so many at least are worth a batch of their own
FILLED = 0.8  # smallest class of a batch beside its largest, where the batch is worth it
SORTED = 64  # points up to which sorting beats selecting


@dataclass(frozen=True, eq=False)
class Classes:
    """Which rows of a sample share a label; made by `classes`.

    Attributes:
        which: number of each row's class [N], from 0.
        size: of each row's class [N].
        batches: row numbers of classes of about the same size [C, m], shorter ones filled up with N.
        alone: the rows whose class is a single one.
    """

    which: Tensor
    size: Tensor
    batches: tuple[Tensor, ...]
    alone: Tensor


_KNOWN: Memory[Classes] = Memory(256)


def classes(y: Tensor) -> Classes:
    """The classes of labels y [N]. The same labels are sorted once: what was made for the last 256 is kept.

    Raises:
        ValueError: for labels that are not integers, fewer than two, or if all differ.
    """
    y = labels(y)
    return _KNOWN.recall(y, "classes", lambda: _classes(y.cpu()))


def _classes(y: Tensor) -> Classes:
    _, which, size = torch.unique(y, return_inverse=True, return_counts=True)
    check_count(int((size[which] > 1).sum()), 2, "the classes of more than one sample")
    members = which.argsort(stable=True).split(size.tolist())
    large = sorted((rows for rows in members if len(rows) > 1), key=len, reverse=True)
    return Classes(which, size[which], tuple(_batches(large, len(y))), torch.nonzero(size[which] == 1).squeeze(1))


def _batches(members: Sequence[Tensor], filler: int) -> Iterator[Tensor]:
    """Classes [C, m] from the largest on."""
    batch: list[Tensor] = []
    for rows in members:
        size = len(batch[0]) ** 2 * len(batch) if batch else 0
        ragged = size > FEW and len(rows) < FILLED * len(batch[0])
        if batch and (ragged or size + len(batch[0]) ** 2 > BATCH):
            yield torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=filler)
            batch = []
        batch.append(rows)
    yield torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=filler)


def pair_terms(x: Tensor, sets: Sequence[Classes], k: int) -> list[Tensor]:
    """Ross's summands for each set of labels, of the rows that are not alone in their class.

    Args:
        x: [N, d] on a CPU.
        sets: of N labels each.
        k: neighbours within the class.
    """
    left, right = factors(centred(x))
    error = 8 * (x.shape[1] + 4) * EPS * left[:, -2] + TINY
    inside = [_within_classes(left, right, error, of, k) for of in sets]
    around = _around(left, right, torch.stack([one.reach for one in inside]))
    terms = []
    for of, own, count in zip(sets, inside, around, strict=True):
        near, count = own.near[: len(x)], count[: len(x)].double()
        for some in of.alone.split(COLUMNS):
            count -= (left[: len(x)] @ right[some].T <= own.reach[: len(x), None]).sum(1)
        unsure = torch.nonzero(own.unsure[: len(x)] & (of.size > 1)).squeeze(1)
        near[unsure], count[unsure] = _by_differences(x, of, unsure, k)
        kept = of.size > 1
        total = torch.digamma(kept.sum().double())
        terms.append((total + near.digamma() - of.size.double().digamma() - count.digamma())[kept])
    return terms


class _Inside(NamedTuple):
    """Of each padded row: its widened squared radius, how many of its class are within, whether that is unsure."""

    reach: Tensor
    near: Tensor
    unsure: Tensor


def _within_classes(left: Tensor, right: Tensor, error: Tensor, of: Classes, k: int) -> _Inside:
    reach, near, unsure = torch.full_like(error, -1), torch.zeros_like(error), torch.zeros_like(error).bool()
    wider = 1 + 2 * TOLERANCE + 4 * left.shape[1] * EPS
    for members in of.batches:
        last = (members < len(of.which)).sum(1).sub(1).clamp(max=k)[:, None, None]
        columns = right[members].transpose(1, 2)
        for rows in members.split(max(1, BATCH // members.numel()), 1):
            gap = torch.bmm(left[rows], columns)
            least = _smallest(gap, k + 2)
            radius = least.gather(-1, last.expand(*rows.shape, 1))
            bound = radius.clamp(min=0) * wider + 2 * error[rows, None]
            more = gap.shape[-1] > k + 2 and bool((least[..., -1:] <= bound).any())
            near[rows] = ((gap if more else least) <= bound).sum(-1).double() - 1
            reach[rows], unsure[rows] = bound.squeeze(-1), error[rows] > UNSURE * radius.squeeze(-1)
    reach[len(of.which) :] = -1
    return _Inside(reach, near, unsure)


def _smallest(gap: Tensor, count: int) -> Tensor:
    """The smallest along the last axis, in order; all, where they are fewer."""
    size, values = gap.shape[-1], gap.numpy()
    if size > max(SORTED, count):
        values = np.partition(values, count - 1)[..., :count]
    return torch.from_numpy(np.sort(values)[..., :count])


def _around(left: Tensor, right: Tensor, reach: Tensor) -> Tensor:
    """How many other rows have a squared distance up to each row's reach [L, M], [L, M].

    The numbers are compared as integers, which for doubles above 0 is the same order and cheaper; one that round-off
    made negative is below all of them in either.
    """
    found = np.full(reach.shape, -1)
    bits = reach.numpy().view(np.int64)
    for tile in tiles(left, right):
        values = tile.values.numpy().view(np.int64)
        rest, beyond = values[:, tile.own :], slice(tile.columns.start + tile.own, tile.columns.stop)
        for radius, count in zip(bits, found, strict=True):
            count[tile.rows] += _true_in_rows(values <= radius[tile.rows, None])
            count[beyond] += np.add.reduce((rest <= radius[beyond]).view(np.uint8), axis=0, dtype=np.uint8)
    return torch.from_numpy(found)


def _true_in_rows(mask: np.ndarray) -> np.ndarray:
    """How many are true in each row, eight columns added up at a time, each in a byte of its own."""
    return mask.view(np.uint64).sum(1).view(np.uint8).reshape(-1, LANES).sum(1, dtype=np.int64)


def _by_differences(x: Tensor, of: Classes, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """How many of the class, and how many in all, are within the radius of the rows given, [n] each."""
    near, around = x.new_empty(2, len(rows)).unbind()
    for start in range(0, len(rows), ROWS):
        some = rows[start : start + ROWS]
        gap = squared_gaps(x[some], x).index_fill_(1, of.alone, torch.inf)
        gap[torch.arange(len(some)), some] = torch.inf
        own = gap.where(of.which[some, None] == of.which, torch.inf)
        last = (of.size[some, None] - 1).clamp(max=k) - 1
        reach = own.topk(min(k, len(x)), largest=False).values.gather(1, last) * (1 + 2 * TOLERANCE)
        near[start : start + ROWS] = (own <= reach).sum(1)
        around[start : start + ROWS] = (gap <= reach).sum(1)
    return near, around
