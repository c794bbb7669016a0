"""A member: one run, as the objects that its config describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from grokplane.callbacks import Callback
from grokplane.data import Examples, Task
from grokplane.losses import Loss
from grokplane.metrics import InformationChoice, Metric, Off
from grokplane.models import ModelChoice
from grokplane.optim import OptimizerChoice, RuleChoice, Schedule, check_together
from grokplane.options import ConfigError, checked, option
from grokplane.train.checkpoint_steps import CheckpointSteps
from grokplane.train.grok import GrokOptions
from grokplane.train.log_points import LogOptions
from grokplane.train.options import TrainOptions


@dataclass(frozen=True)
@checked
class Member:
    """Everything that determines how one network is trained and what is measured."""

    data: Task
    model: ModelChoice
    optimizer: OptimizerChoice
    schedule: Schedule
    loss: Loss
    seed: int = option(0, "decides initial weights, split, batch order and noise", at_least=0, stackable=True)
    rules: Mapping[str, RuleChoice] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    callbacks: Mapping[str, Callback] = field(default_factory=dict)
    mi: InformationChoice = field(default_factory=Off)
    log: LogOptions = field(default_factory=LogOptions)
    grok: GrokOptions = field(default_factory=GrokOptions)
    train: TrainOptions = field(default_factory=TrainOptions)

    def __post_init__(self) -> None:
        check_together(self.rules)
        self.schedule.check(self.train.steps)
        if self.train.start_from is not None and getattr(self.model, "centred", False):
            allowed = (
                "subtracts the initial network of the seed, and train.start_from replaces it; leave one of them out"
            )
            raise ConfigError("model.centred", True, allowed)

    def examples(self) -> Examples:
        """The member's data, drawn by `data.seed` or, if that is None, by `seed`."""
        own = getattr(self.data, "seed", None)
        return self.data.examples(self.seed if own is None else own)

    @property
    def checkpoints(self) -> CheckpointSteps:
        """At which steps the run saves a checkpoint."""
        return CheckpointSteps(self.train.checkpoint_every, self.train.keep_checkpoints, self.log)


def check_stackable(members: Sequence[Member]) -> None:
    """Raise unless the members differ only in stackable keys.

    Raises:
        ConfigError: names the first other key in which a member differs from the first member.
    """
    if not members:
        raise ValueError("a stack needs at least one member")
    for member in members[1:]:
        for key, value, stackable in _differences(members[0], member, ""):
            if not stackable:
                raise ConfigError(key, value, "members of one stack cannot differ in this key")


def _differences(one: Any, other: Any, prefix: str) -> Iterator[tuple[str, object, bool]]:
    """The keys in which two choices differ: (key, the other choice's value, whether the key is stackable)."""
    for spec in fields(one):
        a, b, key = getattr(one, spec.name), getattr(other, spec.name), prefix + spec.name
        stackable = spec.metadata.get("stackable", False)
        if stackable or not isinstance(a, Mapping):
            yield from _differing(a, b, key, stackable)
        elif list(a) != list(b):  # the order of a mapping matters
            yield key, list(b), False
        else:
            for name in a:
                yield from _differing(a[name], b[name], f"{key}.{name}", stackable=False)


def _differing(a: Any, b: Any, key: str, stackable: bool) -> Iterator[tuple[str, object, bool]]:
    if is_dataclass(a) and type(a) is type(b):
        yield from _differences(a, b, f"{key}.")
    elif a != b:
        yield key, b, stackable
