"""Mutual information by counting neighbours in the marginals (Kraskov, Stoegbauer and Grassberger 2004)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from grokplane.mi.base import Array, Estimate, check_count, mean_of, over_batch, samples
from grokplane.mi.ceiling import bounded
from grokplane.mi.entropy import nothing
from grokplane.mi.neighbours import counts, nearest
from grokplane.mi.scale import at_one_scale
from grokplane.mi.ties import continuous
from grokplane.options import check_options, option


@dataclass(frozen=True)
class KSG:
    """Kraskov's estimator in the maximum norm, with each side divided by its size (`at_one_scale`).

    Variant 1 (eq. 8): psi(k) + psi(N) - <psi(n_x + 1) + psi(n_y + 1)>, where n_x is the number of points closer in x
    than the k-th neighbour in (x, y). Variant 2 (eq. 9): psi(k) - 1/k + psi(N) - <psi(n_x) + psi(n_y)>, where n_x is
    the number of points within the largest distance in x of the k neighbours.

    All three entropies use one radius, so their biases cancel: the value is about 0 at independence. The estimator
    needs a number of samples exponential in the true value and is too low beyond about 3 nats at N = 1,000. It is
    invariant to the scale of a side, but not to the scales of the columns of a side. It is robust to outliers. Rows
    (x, y) that repeat an observation are left out, a constant side gives 0, and equal values are spread apart (`ties`).

    With `rows`, the mean < > is over that many evenly spaced rows; their neighbours are searched among all N rows. The
    cost is proportional to `rows`, the bias is the same, and the standard error grows by the square root of N / rows.

    Standard error: standard deviation of the per-sample terms over the square root of their number.
    """

    k: int = option(3, "k-th nearest neighbour", at_least=1)
    variant: int = option(1, "1 (one cube) or 2 (a rectangle)", at_least=1, at_most=2)
    rows: int | None = option(None, "number of rows that the mean is taken over; null: all", at_least=2)

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, x: Array, y: Array) -> Estimate:
        """Mutual information of x [..., N, dx] and y [..., N, dy] in nats.

        Raises:
            ValueError: for fewer than k + 1 distinct rows.
        """
        one = partial(_ksg, k=self.k, variant=self.variant, rows=self.rows)
        return over_batch(bounded(one, "KSG"), samples(x, "x"), samples(y, "y"))


def _ksg(x: Tensor, y: Tensor, k: int, variant: int, rows: int | None) -> Estimate:
    x, y = continuous(x, y, full_rank=False)
    if x.shape[1] == 0 or y.shape[1] == 0:
        return nothing(x)
    check_count(len(x), k + 1, f"the set of distinct rows (k={k})")
    x, y = at_one_scale(x), at_one_scale(y)
    some = torch.linspace(0, len(x) - 1, min(rows or len(x), len(x)), dtype=torch.float64).round().long().to(x.device)
    distance, index = nearest(torch.cat([x, y], 1), k, "chebyshev", rows=some)
    if variant == 1:
        radius = distance[:, -1].contiguous()
        around = [counts(side, radius, rows=some, again=side is x) + 1 for side in (x, y)]
    else:
        reach = [_reach(side, index, some) for side in (x, y)]
        around = [
            counts(side, r, strict=False, rows=some, again=side is x) for side, r in zip((x, y), reach, strict=True)
        ]
    own = _psi(k, x) + _psi(len(x), x) - (1 / k if variant == 2 else 0)
    terms = own - _psi(around[0], x) - _psi(around[1], x)
    return mean_of(terms)


def _reach(side: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """Largest distance [M] in one side [N, d] from each of the rows [M] to its neighbours `index` [M, k]."""
    return (side[index] - side[rows][:, None]).abs().amax((1, 2))


def _psi(number: Tensor | int, like: Tensor) -> Tensor:
    return torch.as_tensor(number).to(like).digamma()


GROUP = "mi/input_estimator"
CHOICES = {"ksg": KSG}
