"""The local learning coefficient of a run at its checkpoints."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from contextlib import closing

import torch
from torch import Tensor

from grokplane.app.runs import Run
from grokplane.app.trained import Trained
from grokplane.mechanism.learning_coefficient import PACKAGE, Coefficient, Parameters, Sampling, learning_coefficient
from grokplane.options import ConfigError
from grokplane.record import FolderLock
from grokplane.record.measured import MeasuredWriter, measured
from grokplane.train.observe import observe

VALUE, ERROR = "LLC", "LLC_Errors"
Show = Callable[[int, int], None]


def check_installed() -> None:
    """Raise ConfigError if devinterp is not installed."""
    if importlib.util.find_spec(PACKAGE) is None:
        raise ConfigError("llc", PACKAGE, f"needs the package {PACKAGE}: pip install 'grokplane[llc]'")


def sample_run(run: Run, how: Sampling, steps: Sequence[int] | None, show: Show) -> tuple[dict[int, Coefficient], int]:
    """Sample the coefficient at checkpoints and append it to the run's `measured.jsonl`, unless it is there already.

    Args:
        run: the run, which no process may be writing to.
        how: the chains.
        steps: with a checkpoint; None: the last one.
        show: is told how many of how many steps of the chains are done.

    Returns:
        The new values by step, and how many checkpoints had a value before.

    Raises:
        ConfigError: a step without a checkpoint, a run that is being written to.
    """
    asked = [run.at(step) for step in steps or [None]]
    asked[-1].prepare_process()
    lock = FolderLock(run.folder, "RUN")
    try:
        done = measured(run.folder)
        left = [one for one in asked if (one.step, repr(how)) not in done]
        found: dict[int, Coefficient] = {}
        with closing(MeasuredWriter(run.folder)) as writer:
            for one in left:
                found[one.step] = coefficient(one, how, _part(show, len(found), len(left)))
                writer.add(one.step, repr(how), {VALUE: found[one.step].value, ERROR: found[one.step].std_error})
                writer.sync()
    finally:
        lock.release()
    return found, len(asked) - len(left)


def _part(show: Show, before: int, parts: int) -> Show:
    """Shows the steps of one of several equal parts of the work."""
    return lambda done, steps: show(before * steps + done, parts * steps)


def coefficient(run: Trained, how: Sampling, show: Show) -> Coefficient:
    """The coefficient of `Loss/train` at a checkpoint; the chains are the members of one stack."""
    stack = run.stack(how.chains)
    with torch.no_grad():
        train = observe(stack).train
    start = {name: value[0] for name, value in stack.parameters.items()}

    def loss(parameters: Parameters) -> Tensor:
        return torch.stack([train.loss(parameters, part) for part in train.slices()]).sum(0)

    return learning_coefficient(loss, start, len(run.train), how, show)
