"""Exact information of a layer whose inputs are a known finite set: a mixture of Gaussians with known centres.

A layer's noiseless rows f_1..f_n, one an input, each equally likely, plus Gaussian noise of standard deviation s in
every coordinate: T = f_I + s z. Nothing has to be estimated from neighbours, for the densities are known:

    I(X;T)   = E[ln p(t|f_i) - ln p(t)],
    I(T;Z)   = E[ln p(t|z_i) - ln p(t)]     for a labelling Z of the inputs,
    I(X;T|Z) = I(X;T) - I(T;Z),

p(t) the mean of the n components and p(t|z) that of the components of a class. Only the expectation over i and z is
drawn, so the values are unbiased and their standard errors are known. The noise is relative: s = r sqrt(P), where P is
the mean of |f_i - mean f|^2. See docs/mi.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grokplane.mi.base import Array, Estimate, as_tensor, labels, samples
from grokplane.mi.discrete import label_entropy
from grokplane.mi.memory import Memory
from grokplane.mi.mixture_sums import Classes, LogSums, classes, log_sums
from grokplane.random import generator

LEAST = 1e-3  # resolution; of a finer one the distances would lose too many digits
# Classes and entropies of labels, which are the same at every log point.
_KNOWN: Memory[tuple[Classes, float]] = Memory(512)


@dataclass(frozen=True, eq=False)
class MixtureInformation:
    """What a layer tells, in nats, at every resolution of a ladder; values and standard errors float64 [levels].

    Attributes:
        input: I(X;T), which of the n inputs it was.
        labels: I(T;Z) by labelling.
        given: I(X;T|Z) by labelling: what it tells of the input beyond the label.
    """

    input: Estimate
    labels: Mapping[str, Estimate]
    given: Mapping[str, Estimate]


@dataclass(frozen=True, eq=False)
class Draws:
    """Rows that are looked at, and the noise that each is looked at with, once as it is and once negated.

    Attributes:
        rows: of the layer [D] int64; numbers 2h and 2h + 1 are drawn independently from one stratum.
        noise: standard normal [D, d] float64.
    """

    rows: Tensor
    noise: Tensor


def mixture(
    centres: Array,
    labellings: Mapping[str, Array] | None = None,
    *,
    ladder: Sequence[float] = (0.2,),
    draws: int = 200,
    seed: int = 0,
    stream: str = "mixture",
) -> MixtureInformation:
    """The information of a layer about its inputs and about labels of them, at every resolution of a ladder.

    I(X;T) is at most ln n and at most 1/(2 r^2), the capacity of a Gaussian channel of any width. With equal draws
    two calls differ by far less than their standard errors: a run asks with one seed and stream at every log point. The
    standard error knows nothing of events rarer than once in the draws.

    Args:
        centres: noiseless rows [n, d]; all the inputs that there are.
        labellings: labels [n] of the inputs by name; rows are drawn from the classes of the first in proportion.
        ladder: resolutions r, each at least 0.001: the noise of a coordinate as a share of the root mean square
            distance of the rows from their mean.
        draws: how many rows are drawn, even and at least 4; each is looked at with noise and with the noise negated.
        seed, stream: what the drawn rows and the noise are a function of, with n, d, the draws and the first labelling.

    Raises:
        ValueError: for a ladder or a number of draws out of bounds, labels that are not one a row, or rows that
            are not finite.
    """
    centres = as_tensor(centres, "centres")
    rows = samples(centres, "centres", least=1) if centres.dtype != torch.float32 else _checked(centres)
    named = {name: _labels(name, values, len(rows)) for name, values in (labellings or {}).items()}
    _check(ladder, draws)
    known = {name: _KNOWN.recall(labels, "classes", lambda y=labels: _grouped(y)) for name, labels in named.items()}
    of_rows = drawn(len(rows), rows.shape[1], next(iter(named.values()), None), draws, generator(seed, stream))
    theirs = of_rows.rows.to(rows.device), of_rows.noise.to(rows.device)
    sums = log_sums(rows, *theirs, [groups for groups, _ in known.values()], ladder)
    if sums is None:  # the layer tells nothing
        nothing = Estimate(*rows.new_zeros(2, len(ladder), dtype=torch.float64))
        return MixtureInformation(nothing, dict.fromkeys(named, nothing), dict.fromkeys(named, nothing))
    return _information(sums, {name: entropy for name, (_, entropy) in known.items()}, math.log(len(rows)))


def _checked(centres: Tensor) -> Tensor:
    """The rows in their own precision; `samples` would copy wide layers."""
    samples(centres[:1], "centres", least=1)
    if not bool(torch.isfinite(centres.sum(dtype=torch.float64))) and not bool(torch.isfinite(centres).all()):
        raise ValueError("centres holds NaN or infinity: must be finite")
    return centres.detach()


def _labels(name: str, values: Array, count: int) -> Tensor:
    checked = labels(values, f"labels {name}", least=1)
    if checked.shape != (count,):
        raise ValueError(f"labels {name} have shape {list(checked.shape)}: must be one a row, [{count}]")
    return checked


def _check(ladder: Sequence[float], draws: int) -> None:
    if not ladder or not all(math.isfinite(level) and level >= LEAST for level in ladder):
        raise ValueError(f"ladder={list(ladder)}: must be resolutions of at least {LEAST:g}")
    if draws < 4 or draws % 2:
        raise ValueError(f"draws={draws}: must be even and at least 4")


def drawn(count: int, width: int, by: Tensor | None, draws: int, numbers: torch.Generator) -> Draws:
    """Two independent draws from each of S = draws / 2 equal strata, along the rows in the order of their labels.

    Stratum h is the stretch [h n/S, (h + 1) n/S) of a line on which row i takes [i, i + 1): every row is drawn equally
    often in the mean, also where a stratum is less than a row.
    """
    order = torch.randperm(count, generator=numbers)
    if by is not None:
        order = order[torch.argsort(by.cpu()[order], stable=True)]
    strata = draws // 2
    uniform = torch.rand(strata, 2, generator=numbers, dtype=torch.float64)
    places = (torch.arange(strata)[:, None] + uniform) * (count / strata)
    rows = order[places.long().clamp(max=count - 1).flatten()]
    return Draws(rows, torch.randn(draws, width, generator=numbers, dtype=torch.float64))


def _information(sums: LogSums, entropies: Mapping[str, float], highest: float) -> MixtureInformation:
    """From the logarithms of the sums over all components and over those of each class, for ln n and every H(Z).

    The mean of ln(n / n_z) over all inputs is H(Z), so it is not left to the draws: then no I(T;Z) exceeds H(Z).
    """
    told = {}
    given = {}
    for (name, entropy), own in zip(entropies.items(), sums.of_class, strict=True):
        told[name] = _mean(own - sums.total, entropy)
        given[name] = _mean(-own, highest - entropy)
    return MixtureInformation(_mean(-sums.total, highest), told, given)


def _grouped(values: Tensor) -> tuple[Classes, float]:
    return classes(values), float(label_entropy(values).value)


def _mean(terms: Tensor, constant: float) -> Estimate:
    """A constant plus the mean over draws of terms [levels, D]; its variance from the pairs of draws of a stratum."""
    pairs = terms.unflatten(1, (-1, 2))
    difference = pairs[..., 0] - pairs[..., 1]
    error = difference.square().sum(1).sqrt() / terms.shape[1]
    return Estimate(constant + terms.mean(1), error)
