"""Exact mutual information of a layer whose inputs are a known finite set: a mixture of Gaussians with known centres.

The layer has noiseless rows f_1..f_n, one per input and equally likely. Gaussian noise of standard deviation s is added
in every coordinate: T = f_I + s z. The densities are known, so no nearest-neighbour estimate is needed:

    I(X;T)   = E[ln p(t|f_i) - ln p(t)],
    I(T;Z)   = E[ln p(t|z_i) - ln p(t)]     for a labelling Z of the inputs,
    I(X;T|Z) = I(X;T) - I(T;Z),

where p(t) is the mean of the n components and p(t|z) is the mean of the components of a class. Only the expectation
over i and z is sampled, so the values are unbiased and their standard errors are known. The noise is relative:
s = r sqrt(P), where P is the mean of |f_i - mean f|^2. See docs/mi.md.
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

LEAST = 1e-3  # smallest resolution; at a finer one the distances would lose too many digits
# Classes and entropies of labels, which do not change between log points.
_KNOWN: Memory[tuple[Classes, float]] = Memory(512)


@dataclass(frozen=True, eq=False)
class MixtureInformation:
    """Mutual information of a layer in nats at every resolution; values and standard errors are float64 [levels].

    Attributes:
        input: I(X;T), the information about which of the n inputs was given.
        labels: I(T;Z) by labelling.
        given: I(X;T|Z) by labelling: the information about the input beyond the label.
    """

    input: Estimate
    labels: Mapping[str, Estimate]
    given: Mapping[str, Estimate]


@dataclass(frozen=True, eq=False)
class Draws:
    """Sampled rows and their noise; every row is used with its noise and with the noise negated.

    Attributes:
        rows: row numbers of the layer [D] int64; entries 2h and 2h + 1 are independent draws from one stratum.
        noise: standard normal noise [D, d] float64.
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
    power: float | None = None,
) -> MixtureInformation:
    """Mutual information of a layer with its inputs and with labels of the inputs, at every resolution of a ladder.

    I(X;T) is at most ln n and at most 1/(2 r^2), the capacity of a Gaussian channel of any width. If two calls share
    their draws, the error of their difference is far smaller than their standard errors; a run therefore uses one seed
    and stream at every log point. The standard error does not include events rarer than one in the number of draws.

    Args:
        centres: noiseless rows [n, d] of all inputs.
        labellings: labels [n] of the inputs by name; rows are sampled in proportion from the classes of the first one.
        ladder: resolutions r, each at least 0.001: the standard deviation of the noise in a coordinate divided by the
            root mean square distance of the rows from their mean.
        draws: number of sampled rows, even and at least 4; each is used with its noise and with the noise negated.
        seed, stream: these determine the sampled rows and the noise, together with n, d, `draws` and the first
            labelling.
        power: the mean squared distance of rows from their mean that resolutions refer to; None: that of the centres.
            With the power of a larger set, a part of it is measured at the noise of the whole.

    Raises:
        ValueError: if the ladder, the number of draws or the power is out of bounds, a labelling does not have one
            label per row, or rows are not finite.
    """
    centres = as_tensor(centres, "centres")
    rows = samples(centres, "centres", least=1) if centres.dtype != torch.float32 else _checked(centres)
    named = {name: _labels(name, values, len(rows)) for name, values in (labellings or {}).items()}
    _check(ladder, draws, power)
    known = {name: _KNOWN.recall(labels, "classes", lambda y=labels: _grouped(y)) for name, labels in named.items()}
    of_rows = drawn(len(rows), rows.shape[1], next(iter(named.values()), None), draws, generator(seed, stream))
    theirs = of_rows.rows.to(rows.device), of_rows.noise.to(rows.device)
    sums = log_sums(rows, *theirs, [groups for groups, _ in known.values()], ladder, power)
    if sums is None:  # all rows are equal: the information is 0
        nothing = Estimate(*rows.new_zeros(2, len(ladder), dtype=torch.float64))
        return MixtureInformation(nothing, dict.fromkeys(named, nothing), dict.fromkeys(named, nothing))
    return _information(sums, {name: entropy for name, (_, entropy) in known.items()}, math.log(len(rows)))


def _checked(centres: Tensor) -> Tensor:
    """Check float32 rows without a conversion to float64, because `samples` would copy wide layers."""
    samples(centres[:1], "centres", least=1)
    if not bool(torch.isfinite(centres.sum(dtype=torch.float64))) and not bool(torch.isfinite(centres).all()):
        raise ValueError("centres holds NaN or infinity: must be finite")
    return centres.detach()


def _labels(name: str, values: Array, count: int) -> Tensor:
    checked = labels(values, f"labels {name}", least=1)
    if checked.shape != (count,):
        raise ValueError(f"labels {name} have shape {list(checked.shape)}: must be one per row, [{count}]")
    return checked


def _check(ladder: Sequence[float], draws: int, power: float | None) -> None:
    if not ladder or not all(math.isfinite(level) and level >= LEAST for level in ladder):
        raise ValueError(f"ladder={list(ladder)}: must be resolutions of at least {LEAST:g}")
    if draws < 4 or draws % 2:
        raise ValueError(f"draws={draws}: must be even and at least 4")
    if power is not None and not 0 < power < math.inf:
        raise ValueError(f"power={power}: must be finite and above 0")


def drawn(count: int, width: int, by: Tensor | None, draws: int, numbers: torch.Generator) -> Draws:
    """Sample two independent rows from each of S = draws / 2 equal strata of the rows, which are sorted by label.

    Stratum h is the interval [h n/S, (h + 1) n/S) of a line on which row i occupies [i, i + 1). All rows have the same
    expected number of draws, even if a stratum is shorter than one row.
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
    """Combine the log sums over all components and over each class with ln n (`highest`) and the entropies H(Z).

    The mean of ln(n / n_z) over all inputs is exactly H(Z) and is not sampled, so that no I(T;Z) exceeds H(Z).
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
    """A constant plus the mean over draws of terms [levels, D]; the error comes from the two draws of each stratum."""
    pairs = terms.unflatten(1, (-1, 2))
    difference = pairs[..., 0] - pairs[..., 1]
    error = difference.square().sum(1).sqrt() / terms.shape[1]
    return Estimate(constant + terms.mean(1), error)
