"""Metrics over the saved checkpoints of a run, several steps as the members of one stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace

import torch

from grokplane import config
from grokplane.app.at_once import copies_at_once
from grokplane.app.runs import Run
from grokplane.app.trained import Trained, stack_of
from grokplane.metrics import ARRAYS, Accuracy, Loss, Metric, Observation, StepTime
from grokplane.options import ConfigError, one_of
from grokplane.record import FolderLock
from grokplane.record.measured import MeasuredWriter, measured
from grokplane.train import Member, Stack
from grokplane.train.observe import Record, measure, observe

# The prefixes of values that `measure` gives whether or not they were asked for.
ALWAYS = {"Acc/": Accuracy, "Acc_token/": Accuracy, "Loss/": Loss}


def measure_run(
    run: Run, names: Sequence[str], steps: Sequence[int] | None, show: Callable[[int, int], None]
) -> tuple[int, int]:
    """Measure metrics over checkpoints and append them to the run's `measured.jsonl`; finished work is not repeated.

    Args:
        run: the run, which no process may be writing to.
        names: of the config group `metrics`; those in the run's config have its keys, others their defaults.
        steps: with a checkpoint; None: all of them.
        show: is told how many of how many checkpoints are done.

    Returns:
        How many checkpoints were measured, and how many were measured before.

    Raises:
        ConfigError: an unknown metric, a step without a checkpoint, a run that is being written to.
    """
    steps = run.steps if steps is None else steps
    last = run.at(steps[-1] if steps else None)
    last.prepare_process()
    metrics = metrics_of(names, last.member)
    asked = replace(last.member, metrics=metrics)
    with ExitStack() as exits:
        lock = FolderLock(run.folder, "RUN")
        exits.callback(lock.release)
        writer = MeasuredWriter(run.folder)
        exits.callback(writer.close)
        done = measured(run.folder)
        left = [step for step in steps if any((step, _key(metric)) not in done for metric in metrics.values())]
        size = _at_once(replace(last, member=asked)) if len(left) > 1 else 1
        for start in range(0, len(left), size):
            show(start, len(left))
            states = [(step, run.state(step)) for step in left[start : start + size]]
            part = [replace(last, step=step, state=state, member=asked) for step, state in states]
            stack, seen = _observed(part)
            for name, metric in metrics.items():
                for one, values in zip(part, _values(stack, seen, name, metric), strict=True):
                    if (one.step, _key(metric)) not in done:
                        writer.add(one.step, _key(metric), values)
            writer.sync()
            show(start + len(part), len(left))
    return len(left), len(steps) - len(left)


def _key(metric: Metric) -> str:
    """The metric with its keys, by which finished work is recognised; `every` does not change a value."""
    keys = [f"{spec.name}={getattr(metric, spec.name)!r}" for spec in fields(metric) if spec.name != "every"]
    return f"{type(metric).__name__}({', '.join(keys)})"


def metrics_of(names: Sequence[str], member: Member) -> dict[str, Metric]:
    """The metrics of these names, with the keys of a run's config where the run has them.

    Raises:
        ConfigError: a name that is none, or of a metric that a checkpoint cannot give.
    """
    known = {name: choice for group, name, choice in config.choices() if group == "metrics"}
    for name in names:
        if name not in known:
            raise ConfigError("--metrics", name, one_of(name, known))
        if issubclass(known[name], StepTime):
            raise ConfigError("--metrics", name, "is the wall time of training, which no checkpoint holds")
    return {name: member.metrics.get(name) or known[name]() for name in names}


def _at_once(run: Trained) -> int:
    """How many steps are measured as one stack.

    One, where a value may depend on the step by itself: noise of the model, and metrics of other packages, which may
    read the step.
    """
    ours = all(type(metric).__module__.startswith("grokplane.") for metric in run.member.metrics.values())
    return copies_at_once(run) if ours and not run.stack().network.noisy else 1


def _observed(part: Sequence[Trained]) -> tuple[Stack, Observation]:
    """Several steps as one stack, and the observation of all of them."""
    stack = stack_of(part)
    seen = observe(stack)
    schedule, steps = stack.shared.schedule, stack.shared.train.steps
    rates = stack.optimizer.learning_rates([schedule(one.step, steps) for one in part])
    seen.learning_rate = torch.tensor(rates, dtype=torch.float64, device=stack.device)
    return stack, seen


def _values(stack: Stack, seen: Observation, name: str, metric: Metric) -> list[Record]:
    """The numbers of one metric, by name, at each of the observed steps; arrays are left out."""
    unasked = tuple(prefix for prefix, kind in ALWAYS.items() if not isinstance(metric, kind))
    records = measure(stack, seen, {name: metric})
    found = [
        {name: value for name, value in record.items() if name not in ("step", ARRAYS) and not name.startswith(unasked)}
        for record in records
    ]
    if any(ARRAYS in record and not numbers for record, numbers in zip(records, found, strict=True)):
        allowed = "gives arrays, which a run records while it trains (metrics=[...]); measure records numbers only"
        raise ConfigError("--metrics", name, allowed)
    return found
