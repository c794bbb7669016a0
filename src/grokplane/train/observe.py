"""Observing a stack: one forward pass over every subset, and the metrics computed from it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grokplane.metrics import ARRAYS, Metric, Observation, collected, of_truth
from grokplane.train.looks import Looks
from grokplane.train.stack import Stack

Record = dict[str, Any]


def due(stack: Stack, step: int) -> dict[str, Metric]:
    """The metrics whose `every` takes the log point of a step."""
    metrics = stack.shared.metrics
    return {name: one for name, one in metrics.items() if stack.shared.log.takes(step, getattr(one, "every", 1))}


def observe(stack: Stack, seconds_per_step: float | None = None, step: int | None = None) -> Observation:
    """Activations, outputs and losses of every row's member on its whole subsets, before the update of a step.

    The step is the stack's own, or an earlier one at which a member diverged. Observation draws nothing from the
    streams of training: there is no dropout, and noise at log points has numbers of its own, which the step determines.
    It leaves parameters, their `.grad` and the optimizer unchanged.
    """
    now = stack.step if step is None else step
    looks, examples = Looks(stack, now), stack.examples
    wanted = any(getattr(metric, "needs_gradients", False) for metric in due(stack, now).values())
    train, losses = looks.at(examples.train, graph=wanted)
    others = {name: looks.at(subset)[0] for name, subset in examples.subsets.items() if name != "train"}
    gradients = partial(looks.gradients, train, losses)
    noiseless = partial(looks.noiseless, {"train": train} | others)
    factor = stack.shared.schedule(now, stack.shared.train.steps)
    rates = torch.tensor(
        stack.optimizer.learning_rates([factor] * len(stack.rows)), dtype=torch.float64, device=stack.device
    )
    layers = {
        name: {role: value.detach() for role, value in roles.items()} for name, roles in stack.network.layers().items()
    }
    parameters = {name: value.detach() for name, value in stack.parameters.items()}
    groups = {name: (group.subset, group.points) for name, group in examples.groups.items()}
    known = layers, parameters, gradients, seconds_per_step, groups, noiseless, examples.questions, others.get("ood")
    of_task = examples.operands, examples.operand_groups
    initial = stack.initial, _initial_layers(stack)
    tracked = {} if stack.tracker is None else stack.tracker.values
    return Observation(now, train, others["eval"], rates, *known, *of_task, *initial, tracked)


def _initial_layers(stack: Stack) -> dict[str, dict[str, Tensor]]:
    """The initial parameters by layer and role; empty unless they are kept."""
    if not stack.initial:
        return {}
    names = {id(value): name for name, value in stack.parameters.items()}
    return {
        layer: {role: stack.initial[names[id(value)]] for role, value in roles.items()}
        for layer, roles in stack.network.layers().items()
    }


def measure(stack: Stack, seen: Observation, metrics: Mapping[str, Metric] | None = None) -> list[Record]:
    """The values of metrics, one flat record per row with its `step`, in one transfer from the device.

    Losses and accuracies are always among them. Where metrics give arrays, the record's entry `arrays` has them as
    numpy arrays [...] by metric and name.

    Args:
        stack: the observed stack.
        seen: the observation.
        metrics: by name; None: those of the stack's members, whatever their `every`.
    """
    with torch.no_grad():
        numbers, arrays, optional = collected(stack.shared.metrics if metrics is None else metrics, seen)
    rows = torch.stack([value.to(torch.float64) for value in numbers.values()], 1).tolist()
    records = [{"step": seen.step} | _own(stack, number, numbers, row, optional) for number, row in enumerate(rows)]
    if arrays:
        there = {metric: {name: _numpy(one) for name, one in named.items()} for metric, named in arrays.items()}
        for number, record in enumerate(records):
            # Copies: a record that waits must not keep the arrays of other members.
            record[ARRAYS] = {
                metric: {name: one[number].copy() for name, one in named.items()} for metric, named in there.items()
            }
    return records


def names_of_all(stack: Stack, names: Collection[str]) -> set[str]:
    """Those names of values that every member has; see `measure`."""
    own = [_own(stack, row, names, [0.0] * len(names), ()) for row in range(len(stack.rows))]
    return set(names).intersection(*own)


def _numpy(values: Tensor) -> np.ndarray:
    return values.resolve_conj().resolve_neg().cpu().numpy()


def _own(stack: Stack, number: int, names: Iterable[str], row: Sequence[float], optional: Collection[str]) -> Record:
    """One member's values by name, as in a solo run.

    Left out are the groups and the true answers of other members, and optional values that are NaN.
    """
    examples = stack.examples
    missing = {name for name, group in examples.groups.items() if not group.members[number]}
    own = {name: value for name, value in zip(names, row, strict=True) if name.partition("/")[2] not in missing}
    own = own if examples.noisy[number] else {name: value for name, value in own.items() if not of_truth(name)}
    return {name: value for name, value in own.items() if not (name in optional and math.isnan(value))}
