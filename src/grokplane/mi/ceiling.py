"""Upper bounds of an estimate, and the warning about an estimate that exceeds one."""

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
    """Collect this thread's warnings about estimates in the yielded list instead of logging them."""
    words: list[str] = []
    token = _HEARD.set(words)
    try:
        yield words
    finally:
        _HEARD.reset(token)


def bounded(one: Callable[..., Estimate], name: str) -> Callable[..., Estimate]:
    """Wrap an estimator of one sample set so that a value above an upper bound gives a warning.

    Each bound is reported once per wrapped function, that is once per call over many sample sets.

    Args:
        one: takes one [N, dx] and one [N, dy], or labels [N] on either side, or only one side.
        name: name of the estimator in the warning.
    """
    told = set[str]()

    def checked(*sides: Tensor) -> Estimate:
        found = one(*sides)
        for bound, what in _ceilings(sides):
            if float(found.value) > bound + SLACK and what not in told:
                told.add(what)
                _tell(f"{name} exceeds {what}: the estimate is too high (docs/estimators.md)")
        return found

    return checked


def _ceilings(sides: tuple[Tensor, ...]) -> Iterator[tuple[float, str]]:
    """Bounds in nats and their descriptions: ln n, and the entropy of each side that has duplicate rows."""
    count = len(sides[0])
    yield float(torch.tensor(float(count)).double().log()), "ln n, the upper bound for n samples"
    for side, name in zip(sides, "xy", strict=False):
        entropy = value_entropy(side)
        if entropy is not None:
            yield entropy, f"the entropy of {name}, which has duplicate rows"


def value_entropy(side: Tensor) -> float | None:
    """Entropy of a side [N, d] or of labels [N]: psi(N) - < psi(count of the row's value) > (Grassberger 1988).

    It exceeds the plug-in entropy by about (values - 1) / 2N, the bias of the latter. None if no row occurs twice.
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
