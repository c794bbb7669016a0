"""Trying the metrics on a few points before a run's folder is created, so that a metric that fails is refused."""

from __future__ import annotations

from dataclasses import replace

import torch

from grokplane.data import StackedSubset
from grokplane.metrics import collected
from grokplane.options import ConfigError
from grokplane.train.memory import check_memory
from grokplane.train.observe import names_of_all, observe
from grokplane.train.stack import Stack

POINTS = 16  # points of each subset


def try_metrics(stack: Stack) -> None:
    """Observe a stack once. The stack keeps only its first few points, so it cannot be used afterwards.

    Raises:
        ConfigError: the stack does not fit into memory; a metric fails, or returns values that `collected` refuses; a
            callback or `grok.metrics` asks for a metric that is not there.
    """
    check_memory(stack)
    examples = stack.examples
    groups = {name: replace(group, points=group.points[:, :POINTS]) for name, group in examples.groups.items()}
    ood = None if examples.ood is None else _first(examples.ood)
    stack.examples = replace(examples, train=_first(examples.train), test=_first(examples.test), ood=ood, groups=groups)
    seen, metrics = observe(stack, seconds_per_step=1.0), stack.shared.metrics
    with torch.no_grad():
        found = {"accuracy": list(collected({}, seen).numbers)}  # with the losses, in every record
        for name, metric in metrics.items():
            try:
                numbers = collected({name: metric}, seen).numbers
            except ConfigError:
                raise
            except Exception as error:  # a user's metric may raise anything
                cause = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
                raise ConfigError(f"metrics.{name}", type(metric).__name__, f"fails on a look ({cause})") from error
            found.setdefault(name, [value for value in numbers if value not in found["accuracy"]])
        names = collected(metrics, seen).numbers.keys()
    of_all = names_of_all(stack, names)
    shared = {name: [value for value in values if value in of_all] for name, values in found.items()}
    stack.shared.grok.check_metrics(shared, [name for name, one in metrics.items() if getattr(one, "every", 1) != 1])
    for callback in stack.shared.callbacks.values():
        callback.check(names)


def _first(subset: StackedSubset) -> StackedSubset:
    return replace(
        subset,
        index=subset.index[:, :POINTS],
        rows=subset.rows[:, :POINTS],
        targets=subset.targets[:, :POINTS],
        count=subset.count.clamp(max=POINTS),
    )
