"""Metrics are tried on a few points before a run's folder is made: what they cannot give is refused, not recorded."""

from __future__ import annotations

from dataclasses import replace

import torch

from grokplane.data import StackedSubset
from grokplane.metrics import collected
from grokplane.options import ConfigError
from grokplane.train.memory import check_memory
from grokplane.train.observe import observe
from grokplane.train.stack import Stack

POINTS = 16  # of each subset


def try_metrics(stack: Stack) -> None:
    """Look once at a stack that is then thrown away: it is left with its first few points alone.

    Raises:
        ConfigError: what does not fit into memory; a metric that fails, or that gives what `collected` refuses.
    """
    check_memory(stack)
    examples = stack.examples
    unseen = examples.unseen[:, :POINTS]
    stack.examples = replace(examples, train=_first(examples.train), test=_first(examples.test), unseen=unseen)
    seen, metrics = observe(stack, seconds_per_step=1.0), stack.shared.metrics
    with torch.no_grad():
        for name, metric in metrics.items():
            try:
                collected({name: metric}, seen)
            except ConfigError:
                raise
            except Exception as error:  # whatever the user's metric raises
                cause = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
                raise ConfigError(f"metrics.{name}", type(metric).__name__, f"fails on a look ({cause})") from error
        collected(metrics, seen)


def _first(subset: StackedSubset) -> StackedSubset:
    return replace(
        subset,
        index=subset.index[:, :POINTS],
        rows=subset.rows[:, :POINTS],
        targets=subset.targets[:, :POINTS],
        count=subset.count.clamp(max=POINTS),
    )
