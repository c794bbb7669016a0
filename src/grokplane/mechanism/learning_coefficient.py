"""The local learning coefficient of a loss at given parameters, sampled with the package devinterp."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

Parameters = Mapping[str, Tensor]
PACKAGE = "devinterp"


@dataclass(frozen=True)
class Sampling:
    """How the posterior around the parameters is sampled: stochastic gradient Langevin dynamics on the whole loss.

    Attributes:
        chains: number of independent chains.
        draws: number of steps of each chain whose losses count.
        burn_in: number of steps before these.
        lr: step size.
        localization: strength of the quadratic pull towards the parameters.
        n_beta: inverse temperature times the number of points n; None: n / ln n.
        seed: seed of the noise.
    """

    chains: int = 4
    draws: int = 500
    burn_in: int = 500
    lr: float = 1e-4
    localization: float = 100.0
    n_beta: float | None = None
    seed: int = 0


class Coefficient(NamedTuple):
    """An estimate, and its standard error over the chains."""

    value: float
    std_error: float


def learning_coefficient(
    loss: Callable[[Parameters], Tensor],
    start: Parameters,
    points: int,
    how: Sampling,
    show: Callable[[int, int], None] = lambda _done, _steps: None,
) -> Coefficient:
    """n beta (mean loss over the chains - loss at the parameters), Lau et al. 2023, arXiv 2308.12108.

    Args:
        loss: mean losses [E] of E copies of the parameters, one per chain.
        start: the parameters [...] by name.
        points: number n of points that the loss is the mean of, at least 2.
        how: the chains.
        show: is told how many of how many steps are done.

    Raises:
        ImportError: devinterp is not installed.
    """
    n_beta = points / math.log(points) if how.n_beta is None else how.n_beta
    copies = {name: value.detach().expand(how.chains, *value.shape).clone() for name, value in start.items()}
    leaves = {name: value.requires_grad_() for name, value in copies.items()}
    devices = {value.device for value in leaves.values() if value.device.type == "cuda"}
    steps, total = how.burn_in + how.draws, torch.zeros(how.chains, dtype=torch.float64)
    with torch.enable_grad(), torch.random.fork_rng(devices):  # devinterp draws from the global generators
        torch.manual_seed(how.seed)
        sampler = _sgld()(list(leaves.values()), lr=how.lr, nbeta=n_beta, localization=how.localization)
        first = loss(leaves).detach().double().cpu()
        for step in range(steps):
            losses = loss(leaves)
            if step >= how.burn_in:
                total += losses.detach().double().cpu()
            sampler.zero_grad()
            losses.sum().backward()
            sampler.step()
            show(step + 1, steps)
    chains = n_beta * (total / how.draws - first)
    return Coefficient(float(chains.mean()), float(chains.std()) / math.sqrt(how.chains))


def _sgld() -> Any:
    """The sampler of devinterp: parameters to a torch optimizer."""
    return importlib.import_module(f"{PACKAGE}.optim").SGMCMC.sgld
