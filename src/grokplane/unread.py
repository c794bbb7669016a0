"""Keys that are not read: every choice can say which of its keys mean nothing beside the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any


@dataclass(frozen=True)
class Surroundings:
    """What a choice may have to know of the rest of a run to say which of its keys are read.

    Attributes:
        features: length of the inputs, if they are vectors; None: images or tokens.
        numbers: whether the answers are numbers.
        own_noise: whether layers have noise of the model's own at log points.
        noise_looked_at: whether anything looks at a layer with that noise.
        on_cpu: whether it is trained on a CPU.
    """

    features: int | None
    numbers: bool
    own_noise: bool
    noise_looked_at: bool
    on_cpu: bool


def unread(choice: Any, around: Surroundings, prefix: str = "") -> dict[str, str]:
    """The keys of a choice, and of the choices within it, that mean nothing, and why.

    A choice says so in a method `unread(around)`, which returns {key: why}, keys without prefix. A key whose value is
    another choice stands for all of that one's keys.

    Args:
        choice: a dataclass, or a dict of them by name.
        around: what else there is in the run.
        prefix: of its keys, `model.`.
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
