"""Parts of a stack, built from its members and their data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from grokplane.data import SAMPLERS, Batches, StackedExamples
from grokplane.metrics import Inputs
from grokplane.models import Signature, StackedModel
from grokplane.options import ConfigError
from grokplane.train.member import Member


def refuse_labels(member: Member) -> None:
    """Raise ConfigError for a loss or a metric that needs class labels, where the answers are numbers."""
    why = "class labels, and this task's answers are numbers"
    if getattr(member.loss, "needs_labels", False):
        raise ConfigError("loss", type(member.loss).__module__.rpartition(".")[2], f"needs {why}; use loss=mse")
    refused = [name for name, metric in member.metrics.items() if getattr(metric, "needs_labels", False)]
    if refused:
        named, rest = (",".join(names) for names in (member.metrics, [n for n in member.metrics if n not in refused]))
        raise ConfigError("metrics", f"[{named}]", f"{' and '.join(refused)} need {why}; write metrics=[{rest}]")


def inputs(examples: StackedExamples, members: Sequence[Member], network: StackedModel) -> Inputs:
    """The inputs of a stack's networks at every log point."""
    discrete = examples.vocabulary is not None
    places = [place for place in range(examples.shape.numel()) if place not in examples.fixed]
    return Inputs(
        subsets={"train": examples.train.inputs, "eval": examples.test.inputs},
        operands=places if discrete and len(places) == 2 else (),
        discrete=discrete,
        seen=network.seen,
        populations=[examples.population or partial(_own_inputs, examples, member) for member in range(len(members))],
        seeds=[member.seed for member in members],
        log_points=members[0].log.count(members[0].train.steps),
    )


def _own_inputs(examples: StackedExamples, member: int) -> Tensor:
    """All inputs of one member [N, ...]."""
    subsets = examples.train, examples.test
    return torch.cat([subset.inputs()[member][subset.mask[member]] for subset in subsets])


def signature(examples: StackedExamples) -> Signature:
    """The shapes of a task."""
    shape = examples.shape
    return Signature(shape.numel(), examples.vocabulary, examples.outputs, examples.fixed, tuple(shape))


def buffer(values: Tensor, members: int, batch_size: int | str) -> Tensor | None:
    """The memory into which a CPU gathers the questions of every step.

    A new tensor in each step would cost 16 members of MNIST's size 1 to 3% of the step.
    """
    if values.device.type != "cpu" or isinstance(batch_size, str):
        return None
    return values.new_empty(members, batch_size, *values.shape[1:])


def streams(members: Sequence[Member], examples: StackedExamples) -> list[Batches] | None:
    """Each member's batches; None where every batch is the whole training subset."""
    options = members[0].train
    if isinstance(options.batch_size, str):
        return None
    sampler, size = SAMPLERS[options.sampling], options.batch_size
    counts = examples.train.count.tolist()
    return [sampler(member.seed, count, size) for member, count in zip(members, counts, strict=True)]


class PointBytes(NamedTuple):
    """Bytes of one point over all rows of a stack: the outputs, and the values of all layers."""

    outputs: int
    layers: int

    @property
    def both(self) -> int:
        """The sum of both."""
        return self.outputs + self.layers


def point_bytes(network: StackedModel, point: Tensor) -> PointBytes:
    """Measure the sizes by sending one point [E, 1, ...] through the network."""
    seen: dict[int, Tensor] = {}

    def tap(name: str, *values: Tensor | bool | None) -> None:  # noqa: ARG001 (a tap's arguments)
        seen.update((id(value), value) for value in values if isinstance(value, Tensor))

    training = network.training
    network.eval()
    network.at(0)
    with torch.no_grad():
        outputs = network(network.encode(point), tap)
    network.train(training)
    return PointBytes(outputs.nbytes, sum(value.nbytes for value in seen.values()))
