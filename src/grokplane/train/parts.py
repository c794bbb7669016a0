"""Parts of a stack, built from its members and their data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from grokplane.answers import Answers, LabelSequence
from grokplane.data import SAMPLERS, Batches, StackedExamples
from grokplane.metrics import Inputs
from grokplane.models import Signature, StackedModel
from grokplane.options import ConfigError, name_of
from grokplane.train.member import Member


def check_readable(member: Member, answers: Answers) -> None:
    """Raise ConfigError for a loss or metrics that cannot read the answers of the task."""
    why = answers.lacks(member.loss)
    if why:
        raise ConfigError("loss", name_of(member.loss), f"needs {why}; use loss=mse")
    lacking = {name: answers.lacks(metric) for name, metric in member.metrics.items()}
    refused = {why: [name for name, lacks in lacking.items() if lacks == why] for why in lacking.values() if why}
    if refused:
        why = "; ".join(f"{' and '.join(one)} need{'s' * (len(one) == 1)} {what}" for what, one in refused.items())
        named, rest = (",".join(names) for names in (lacking, [name for name, lacks in lacking.items() if not lacks]))
        raise ConfigError("metrics", f"[{named}]", f"{why}; write metrics=[{rest}]")


def check_group(member: Member, examples: StackedExamples) -> None:
    """Raise ConfigError for metrics that need operands of a group, if the task has none."""
    needing = [name for name, metric in member.metrics.items() if getattr(metric, "needs_group", False)]
    if needing and (examples.operands is None or not all(examples.operand_groups)):
        rest = ",".join(name for name in member.metrics if name not in needing)
        allowed = f"needs operands that are elements of a group, as those of modular, sums and group; metrics=[{rest}]"
        raise ConfigError("metrics", ",".join(needing), allowed)


def check_outputs(member: Member, shape: tuple[int, ...], answers: Answers) -> None:
    """Raise ConfigError for a model whose outputs for one point have another shape than the answers of the task."""
    if shape != answers.shape:
        why = f"gives outputs {list(shape)} for each point, and the answers of this task need {list(answers.shape)}"
        why += "" if answers.positions is None else "; use transformer, lstm, or a module of your own"
        raise ConfigError("model", name_of(member.model), why)


def inputs(examples: StackedExamples, members: Sequence[Member], network: StackedModel) -> Inputs:
    """The inputs of a stack's networks at every log point."""
    discrete = signature(examples).given == "tokens"
    places = [place for place in range(examples.shape.numel()) if place not in examples.fixed]
    return Inputs(
        subsets={name: subset.inputs for name, subset in examples.subsets.items()},
        operands=places if discrete and len(places) == 2 else (),
        discrete=discrete,
        seen=network.seen,
        populations=[examples.population or partial(_own_inputs, examples, member) for member in range(len(members))],
        seeds=[member.seed for member in members],
        log_points=members[0].log.count(members[0].train.steps),
        parts=examples.parts,
    )


def _own_inputs(examples: StackedExamples, member: int) -> Tensor:
    """All inputs of one member [N, ...]."""
    return torch.cat([subset.inputs()[member][subset.mask[member]] for subset in examples.subsets.values()])


def signature(examples: StackedExamples) -> Signature:
    """The shapes of a task."""
    shape, answers = examples.shape, examples.answers
    length, point = shape.numel(), tuple(shape)
    causal = isinstance(answers, LabelSequence) and answers.fed_back
    return Signature(length, examples.vocabulary, answers.width, examples.fixed, point, answers.positions, causal)


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
    """Bytes of one point over all rows of a stack.

    Attributes:
        outputs: bytes of the outputs.
        layers: bytes of the values of all layers.
        shape: shape of the outputs of a point, (C,) or (T, C).
    """

    outputs: int
    layers: int
    shape: tuple[int, ...]

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
    return PointBytes(outputs.nbytes, sum(value.nbytes for value in seen.values()), tuple(outputs.shape[2:]))
