"""Differential entropies of samples in nats, from nearest neighbours.

A rule maps samples [N, d] to one term per sample; the entropy is the mean of the terms. Terms of several entropies are
added sample by sample before a standard deviation is taken, so that standard errors include their covariance.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from grokplane.mi.base import Estimate, check_count, mean_of
from grokplane.mi.degenerate import distinct, whiten
from grokplane.mi.memory import Memory
from grokplane.mi.neighbours import distances
from grokplane.mi.scale import standardised
from grokplane.mi.ties import continuous

Rule = Callable[[Tensor], Tensor]
LOG = logging.getLogger(__name__)


class Entropy(NamedTuple):
    """An entropy (scalar) and its per-sample terms [N]."""

    value: Tensor
    terms: Tensor


_KNOWN: Memory[Entropy] = Memory(512)


def log_ball(dims: int) -> float:
    """Logarithm of the volume of the unit ball."""
    return dims / 2 * math.log(math.pi) - math.lgamma(dims / 2 + 1)


def kl_terms(x: Tensor, k: int) -> Tensor:
    """Kozachenko-Leonenko terms, log(N - 1) - psi(k) + log V_d + d log r_k, with r_k the k-th Euclidean distance.

    Args:
        x: [N, d] without duplicate rows.
        k: number of the neighbour.

    Returns:
        [N]

    Raises:
        ValueError: for fewer than k + 1 rows.
    """
    return _ball_terms(x, distances(x, k)[:, k - 1 :], torch.tensor([k]))[:, 0]


def weighted_terms(x: Tensor, k: int) -> Tensor:
    """Terms of Berrett, Samworth and Yuan: a sum over several neighbours, weighted by `neighbour_weights`."""
    weights = torch.as_tensor(neighbour_weights(x.shape[1], k)).to(x)
    used = weights.nonzero()[:, 0]
    reach = distances(x, int(used[-1]) + 1)[:, used]
    return _ball_terms(x, reach, used + 1) @ weights[used]


def _ball_terms(x: Tensor, reach: Tensor, number: Tensor) -> Tensor:
    """Terms [N, J] of J neighbours with the numbers `number` [J], at distances `reach` [N, J]."""
    if not bool((reach > 0).all()):
        raise ValueError("two rows are at distance 0 in float64: rescale the samples or remove duplicates")
    count, dims = x.shape
    constant = math.log(count - 1) + log_ball(dims) - torch.digamma(number.to(x))
    return constant + dims * reach.log()


@lru_cache(maxsize=256)
def neighbour_weights(dims: int, k: int) -> np.ndarray:
    """Weights [k] of the 1st to k-th neighbour (Berrett, Samworth and Yuan 2019, eq. 2, minimum norm).

    For d <= 4 the first neighbour has all the weight, so k has no effect (a warning is logged once). For d > 4 only
    the neighbours floor(m k / d), m = 1 .. d, have weight. The weights are the minimum-norm solution of
    sum_j w_j = 1 and sum_j w_j Gamma(j + 2l/d) / Gamma(j) = 0 for l = 1 .. floor(d / 4). In 8 dimensions their
    absolute values sum to 20 to 60, which makes the variance large.

    Raises:
        ValueError: for d > 4 and k < d, where no such weights exist.
    """
    weights = np.zeros(k)
    if dims <= 4:
        if k > 1:
            _tell_that_k_has_no_effect()
        weights[0] = 1
        return weights
    if k < dims:
        raise ValueError(f"k={k} in {dims} dimensions: must be at least the number of dimensions if that exceeds 4")
    support = np.array([m * k // dims for m in range(1, dims + 1)])
    powers = [2 * order / dims for order in range(dims // 4 + 1)]
    system = np.array([[math.exp(math.lgamma(j + power) - math.lgamma(j)) for j in support] for power in powers])
    scale = system.max(1, keepdims=True)
    target = np.eye(len(powers))[0]
    weights[support - 1] = np.linalg.lstsq(system / scale, target, rcond=None)[0]
    return weights


@lru_cache(maxsize=1)
def _tell_that_k_has_no_effect() -> None:
    LOG.warning("weighted entropies in at most 4 dimensions use only the first neighbour: k has no effect")


def entropy_of(x: Tensor, rule: Rule, rescale: bool) -> Entropy:
    """Entropy of the distinct rows of x [N, d] by a rule, after whitening if `rescale` is set."""
    rows, which = distinct(x)
    check_count(len(rows), x.shape[1] + 2 if rescale else 2, "the set of distinct rows")
    shaped, log_det = whiten(rows) if rescale else (rows, x.new_zeros(()))
    terms = rule(shaped) + log_det
    return Entropy(terms.mean(), terms[which])


def information_of(x: Tensor, y: Tensor, rule: Rule, rescale: bool, settings: Hashable) -> Estimate:
    """h(X) + h(Y) - h(X, Y) of one sample set x [N, dx], y [N, dy], with the same rule for all three.

    Degenerate input is treated as described in `grokplane.mi.degenerate` and `ties`. Without `rescale`, each side is
    divided by its size (`standardised`), because the joint distance combines both. h(X) and h(Y) are cached under
    `settings`, which names the rule: the input of a network is the same at every log point, and the entropy of a
    layer is also used for its information about the labels.

    Raises:
        ValueError: for linearly dependent x and y, or too few distinct rows.
    """
    x, y = continuous(x, y, full_rank=True)
    if x.shape[1] == 0 or y.shape[1] == 0:
        return nothing(x)
    if not rescale:
        x, y = standardised(x), standardised(y)
    first, second = remembered(x, rule, rescale, settings), remembered(y, rule, rescale, settings)
    both = entropy_of(torch.cat([x, y], 1), rule, rescale)
    error = mean_of(first.terms + second.terms - both.terms).std_error
    return Estimate(first.value + second.value - both.value, error)


def remembered(x: Tensor, rule: Rule, rescale: bool, settings: Hashable) -> Entropy:
    """`entropy_of`, computed once for the same numbers and settings."""
    return _KNOWN.recall(x, (settings, rescale), lambda: entropy_of(x, rule, rescale))


def nothing(x: Tensor) -> Estimate:
    """An estimate of exactly 0, the information of a constant."""
    return Estimate(x.new_zeros(()), x.new_zeros(()))
