"""What an estimate cannot exceed without being wrong, and the word about one that does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from grokplane.mi.base import Estimate
from grokplane.mi.degenerate import distinct

log = logging.getLogger(__name__)
_HEARD: ContextVar[list[str] | None] = ContextVar("heard", default=None)
SLACK = 1e-9  # nats of round-off


@contextmanager
def heard() -> Iterator[list[str]]:
    """Within the block warnings about estimates of this thread go to the list that it gives, and are not logged."""
    words: list[str] = []
    token = _HEARD.set(words)
    try:
        yield words
    finally:
        _HEARD.reset(token)


def bounded(one: Callable[..., Estimate], name: str) -> Callable[..., Estimate]:
    """The estimator of one sample, with a warning (one a call of many samples) for a value above its ceiling.

    Args:
        one: takes one [N, dx] and one [N, dy], or labels [N] on either side, or one of them alone.
        name: of the estimator.
    """
    told = set[str]()

    def checked(*sides: Tensor) -> Estimate:
        found = one(*sides)
        for bound, what in _ceilings(sides):
            if float(found.value) > bound + SLACK and what not in told:
                told.add(what)
                _tell(f"{name} gives more than {what}: the estimate is too high (docs/estimators.md)")
        return found

    return checked


def _ceilings(sides: tuple[Tensor, ...]) -> Iterator[tuple[float, str]]:
    """Bounds in nats and what they are: ln n, or the entropy of a side that has equal rows."""
    count = len(sides[0])
    yield float(torch.tensor(float(count)).double().log()), "ln n, the most that n samples can show"
    for side, name in zip(sides, "xy", strict=False):
        entropy = value_entropy(side)
        if entropy is not None:
            yield entropy, f"the entropy of {name}, which has equal rows"


def value_entropy(side: Tensor) -> float | None:
    """psi(N) - < psi(N of the row's value) >, H of a side [N, d] or of labels [N] (Grassberger 1988).

    Above the plug-in entropy by about (values - 1) / 2N, which that lacks. None where no row occurs twice.
    """
    rows, which = distinct(side[:, None] if side.dim() == 1 else side)
    if len(rows) == len(side):
        return None
    size = torch.bincount(which)[which].double()
    return float(torch.digamma(torch.tensor(float(len(side))).double()) - torch.digamma(size).mean())


def _tell(word: str) -> None:
    words = _HEARD.get()
    if words is None:
        log.warning("%s", word)
    elif word not in words:
        words.append(word)
