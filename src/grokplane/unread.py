"""Keys that have no effect: every choice can declare which of its keys the rest of the config disables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any


@dataclass(frozen=True)
class Surroundings:
    """Properties of a run that determine which keys of a choice have an effect.

    Attributes:
        features: length of the inputs if they are vectors; None for images and tokens.
        numbers: whether the answers are numbers.
        sequences: whether the answers are sequences, each token of which is read from a position of its own.
        own_noise: whether layers have noise of the model's own at log points.
        noise_looked_at: whether a metric or an estimator uses layers with that noise.
        on_cpu: whether the run is trained on a CPU.
        parts: the parts of the network that have parameters, see `StackedModel.parts`; only for an optimizer that
            needs them.
    """

    features: int | None
    numbers: bool
    sequences: bool
    own_noise: bool
    noise_looked_at: bool
    on_cpu: bool
    parts: Sequence[str] = ()


def unread(choice: Any, around: Surroundings, prefix: str = "") -> dict[str, str]:
    """The keys of a choice and of its inner choices that have no effect, with reasons.

    A choice declares them in a method `unread(around)`, which returns {key: reason} with keys without prefix. A key
    whose value is another choice stands for all keys of that choice.

    Args:
        choice: a dataclass, or a dict of dataclasses by name.
        around: the rest of the run.
        prefix: the prefix of the keys, such as `model.`.
    """
    found = {f"{prefix}{key}": why for key, why in getattr(choice, "unread", _none)(around).items()}
    for name, part in _parts(choice):
        found |= unread(part, around, f"{prefix}{name}.")
    return found


def _none(around: Surroundings) -> Mapping[str, str]:  # noqa: ARG001 (the signature of a choice's method)
    return {}


def _parts(choice: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(choice, Mapping):
        yield from choice.items()
    elif is_dataclass(choice):
        for spec in fields(choice):
            value = getattr(choice, spec.name)
            if is_dataclass(value) or isinstance(value, Mapping):
                yield spec.name, value
