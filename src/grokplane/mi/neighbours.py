"""Exact nearest neighbours within a sample: distances to them and counts within a radius.

On a CPU the search uses k-d trees: SciPy's for neighbours, with as many workers as torch has threads, and
scikit-learn's for counts. On other devices it is a brute-force search in chunks, from differences of coordinates. The
usual expansion |a|^2 + |b|^2 - 2ab is never used, because it loses the precision of small distances. Both methods give
the same result. A point is never its own neighbour; a duplicate of it is a neighbour at distance 0.
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
TOLERANCE = 1e-12  # distances with a smaller relative difference count as equal
CPU_BYTES = 2**26
_COUNTING: Memory[Any] = Memory(64)


def nearest(
    x: Tensor, k: int, metric: Metric = "euclidean", backend: Backend | None = None, *, rows: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Find the k nearest other points of every point, or of selected points.

    Args:
        x: [..., N, d] float64.
        k: number of neighbours.
        metric: distance metric.
        backend: "tree" or "brute"; by default "tree" on a CPU and "brute" elsewhere.
        rows: the points to search neighbours for [M]; all N by default.

    Returns:
        Distances in ascending order and row numbers, both [..., M, k]. The order of equal distances is arbitrary.

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
    """Distances to the 1st to k-th nearest other point [..., N, k]; see `nearest`."""
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
    """Count the other points within a radius of every point, or of selected points.

    Args:
        x: [..., N, d] float64.
        radius: [..., M] float64, one radius per point.
        metric: distance metric.
        strict: count distances below the radius; if False, also distances equal to it. Distances within a relative
            1e-12 of the radius are equal to it.
        backend, rows: as in `nearest`.
        again: keep the tree for further calls with the same points and other radii.

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
    """Distances and row numbers [M, k] of the neighbours of the rows [M] in one sample set [N, d]."""
    sort = _near_order(points)
    place = np.argsort(sort)[rows]
    walk = np.argsort(place)
    tree = _tree(points[sort])
    found, near = tree.query(tree.data[place[walk]], k + 1, p=order, workers=torch.get_num_threads())
    distance, index = np.empty_like(found), np.empty_like(near)
    distance[walk], index[walk] = found, sort[near]
    own = index == rows[:, None]
    last = np.argsort(own, axis=1, kind="stable")  # move the point itself last; among duplicates it need not come first
    return distance[:, 1:], np.take_along_axis(index, last, 1)[:, :k]


def _tree(points: np.ndarray) -> KDTree:
    from scipy.spatial import KDTree

    return KDTree(points, leafsize=10 if points.shape[1] <= 4 else 48)


def _near_order(points: np.ndarray) -> np.ndarray:
    """Order in which neighbours are close in memory; it saves a sixth of the time if a search visits many leaves."""
    if len(points) < 4096 or points.shape[1] <= 4:
        return np.arange(len(points))
    return _tree(points).indices


def _tree_counts(x: Tensor, reach: Tensor, metric: Metric, rows: Tensor, again: bool) -> Tensor:
    """Count with scikit-learn's tree, which is three times faster than SciPy's."""
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
    """Distances from differences of coordinates, in chunks of rows that fit into memory.

    Args:
        x: [B, N, d].
        metric: distance metric.
        rows: the rows [M] to take distances from; all by default.

    Yields:
        The position in `rows` at which the chunk starts, and the distances [B, chunk, N] from its rows to all rows.
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
