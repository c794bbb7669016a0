"""Exact nearest neighbours within a sample: distances to them and counts within a radius.

On a CPU k-d trees answer (scipy's, with as many workers as torch has threads, and scikit-learn's for counts); elsewhere
a brute force over chunks, by differences of coordinates. The usual expansion |a|^2 + |b|^2 - 2ab is never used: it
destroys small distances. Both give the same answer, a point is never its own neighbour, and a duplicate of it is one at
distance 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from grokplane.mi.base import check_count
from grokplane.mi.memory import Memory

if TYPE_CHECKING:
    from scipy.spatial import KDTree

Metric = Literal["euclidean", "chebyshev"]
Backend = Literal["tree", "brute"]
ORDER: dict[Metric, float] = {"euclidean": 2.0, "chebyshev": float("inf")}
TOLERANCE = 1e-12  # relative: distances that differ by less are equal
CPU_BYTES = 2**26
_COUNTING: Memory[Any] = Memory(64)


def nearest(
    x: Tensor, k: int, metric: Metric = "euclidean", backend: Backend | None = None, *, rows: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The k nearest other points of every point, or of some.

    Args:
        x: [..., N, d] float64.
        k: how many.
        metric: of distance.
        backend: "tree" or "brute"; by default the tree on a CPU, brute force elsewhere.
        rows: which points are asked about [M]; all N by default.

    Returns:
        Distances in ascending order and row numbers, both [..., M, k]. Among equal distances any may come first.

    Raises:
        ValueError: for fewer than k + 1 points.
    """
    check_count(x.shape[-2], k + 1, f"a search for {k} neighbours")
    search = _tree_neighbours if _backend(x, backend) == "tree" else _brute_neighbours
    flat = x.reshape(-1, *x.shape[-2:])
    asked = _asked(x, rows)
    shape = (*x.shape[:-2], len(asked), k)
    distance, index = search(flat, k, metric, asked)
    return distance.view(shape), index.view(shape)


def distances(x: Tensor, k: int, metric: Metric = "euclidean", backend: Backend | None = None) -> Tensor:
    """Distances to the 1st to k-th nearest other point, [..., N, k]; see `nearest`."""
    return nearest(x, k, metric, backend)[0]


def counts(
    x: Tensor,
    radius: Tensor,
    metric: Metric = "chebyshev",
    *,
    strict: bool = True,
    backend: Backend | None = None,
    rows: Tensor | None = None,
    again: bool = False,
) -> Tensor:
    """How many other points lie around every point, or around some.

    Args:
        x: [..., N, d] float64.
        radius: [..., M] float64, one a point asked about.
        metric: of distance.
        strict: count distances below the radius, otherwise those up to it; distances within a relative 1e-12 of the
            radius are equal to it.
        backend, rows: as in `nearest`.
        again: whether the same points are asked about again and again, with other radii: their tree is kept then.

    Returns:
        [..., M] int64.
    """
    asked = _asked(x, rows)
    reach = radius * (1 - TOLERANCE if strict else 1 + TOLERANCE)
    count = partial(_tree_counts, again=again) if _backend(x, backend) == "tree" else _brute_counts
    found = count(x.reshape(-1, *x.shape[-2:]), reach.reshape(-1, len(asked)), metric, asked).view(radius.shape) - 1
    return found.where(radius > 0, torch.zeros_like(found)) if strict else found


def _backend(x: Tensor, backend: Backend | None) -> Backend:
    return backend or ("tree" if x.device.type == "cpu" else "brute")


def _asked(x: Tensor, rows: Tensor | None) -> Tensor:
    return torch.arange(x.shape[-2], device=x.device) if rows is None else rows.to(x.device)


def _tree_neighbours(x: Tensor, k: int, metric: Metric, rows: Tensor) -> tuple[Tensor, Tensor]:
    asked = rows.cpu().numpy()
    found = [_query(points, k, ORDER[metric], asked) for points in x.cpu().numpy()]
    distance, index = (np.stack(part) if part else np.empty((0, len(asked), k)) for part in _unzip(found))
    return torch.from_numpy(distance).to(x), torch.from_numpy(index.astype(np.int64)).to(x.device)


def _unzip(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [first for first, _ in pairs], [second for _, second in pairs]


def _query(points: np.ndarray, k: int, order: float, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of one sample [N, d], for the rows asked about [M]: distances and row numbers [M, k]."""
    sort = _near_order(points)
    place = np.argsort(sort)[rows]
    walk = np.argsort(place)
    tree = _tree(points[sort])
    found, near = tree.query(tree.data[place[walk]], k + 1, p=order, workers=torch.get_num_threads())
    distance, index = np.empty_like(found), np.empty_like(near)
    distance[walk], index[walk] = found, sort[near]
    own = index == rows[:, None]
    last = np.argsort(own, axis=1, kind="stable")  # the point itself goes last; among duplicates it need not be first
    return distance[:, 1:], np.take_along_axis(index, last, 1)[:, :k]


def _tree(points: np.ndarray) -> KDTree:
    from scipy.spatial import KDTree

    return KDTree(points, leafsize=10 if points.shape[1] <= 4 else 48)


def _near_order(points: np.ndarray) -> np.ndarray:
    """An order in which neighbours lie close in memory: a sixth less time where a search visits many leaves."""
    if len(points) < 4096 or points.shape[1] <= 4:
        return np.arange(len(points))
    return _tree(points).indices


def _tree_counts(x: Tensor, reach: Tensor, metric: Metric, rows: Tensor, again: bool) -> Tensor:
    """Counted by scikit-learn's tree, which does it three times faster than scipy's."""
    from sklearn.neighbors import KDTree as CountingTree

    result = torch.zeros(reach.shape, dtype=torch.int64)
    asked = rows.cpu().numpy()
    for row, (sample, radius) in enumerate(zip(x.cpu(), reach.cpu().numpy(), strict=True)):
        points = sample.numpy()
        grow = partial(CountingTree, points.copy() if again else points, metric=metric)
        tree = _COUNTING.recall(sample, metric, grow) if again else grow()
        found = tree.query_radius(points[asked], radius, count_only=True)
        result[row] = torch.from_numpy(np.asarray(found, np.int64))
    return result.to(x.device)


def _brute_neighbours(x: Tensor, k: int, metric: Metric, rows: Tensor) -> tuple[Tensor, Tensor]:
    parts = []
    for start, gap in gaps(x, metric, rows):
        own = torch.arange(gap.shape[1], device=x.device)
        gap[:, own, rows[own + start]] = torch.inf
        parts.append(gap.topk(k, largest=False, sorted=True))
    return torch.cat([part.values for part in parts], 1), torch.cat([part.indices for part in parts], 1)


def _brute_counts(x: Tensor, reach: Tensor, metric: Metric, rows: Tensor) -> Tensor:
    parts = [(gap <= reach[:, start : start + gap.shape[1], None]).sum(-1) for start, gap in gaps(x, metric, rows)]
    return torch.cat(parts, 1)


def gaps(x: Tensor, metric: Metric = "euclidean", rows: Tensor | None = None) -> Iterator[tuple[int, Tensor]]:
    """Distances by differences of coordinates, as many rows at a time as memory allows.

    Args:
        x: [B, N, d].
        metric: of distance.
        rows: the rows [M] from which they are taken; all by default.

    Yields:
        A place in `rows` and the distances [B, some, N] from the rows that begin there to all.
    """
    batch, points, dims = x.shape
    asked = x if rows is None else x[:, rows]
    some = max(1, _bytes(x.device) // (4 * 8 * max(1, batch * points)))
    for start in range(0, asked.shape[1], some):
        part = asked[:, start : start + some]
        total = x.new_zeros(batch, part.shape[1], points)
        for dim in range(dims):
            step = part[:, :, None, dim] - x[:, None, :, dim]
            total = total.addcmul_(step, step) if metric == "euclidean" else torch.maximum(total, step.abs_())
        yield start, total.sqrt_() if metric == "euclidean" else total


def _bytes(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else CPU_BYTES
