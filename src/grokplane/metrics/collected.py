"""The values and arrays of all metrics at a log point, each under its own name; others are refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from grokplane.metrics.accuracy import Accuracy
from grokplane.metrics.loss import Loss
from grokplane.metrics.metric import Array, Metric
from grokplane.metrics.observation import Observation
from grokplane.metrics.step_time import StepTime
from grokplane.options import ConfigError

# Names of a record that are not a metric's: wall-clock figures, estimates of information, W&B's own.
TAKEN = ("time/", "MI(", "H(", "grok/", "_")
# Whole names: the record's step, and where its arrays lie.
ARRAYS = "arrays"
RESERVED = ("step", ARRAYS)


class Collected(NamedTuple):
    """What the metrics of a log point give.

    Attributes:
        numbers: by name, each [E].
        arrays: by metric and name, each [E, ...].
    """

    numbers: dict[str, Tensor]
    arrays: dict[str, dict[str, Tensor]]


def collected(metrics: Mapping[str, Metric], seen: Observation) -> Collected:
    """The values of metrics. Losses and accuracies are always among them.

    Args:
        metrics: by their name in the config.
        seen: the log point.

    Raises:
        ConfigError: a metric that gives something else than real numbers [E] and arrays, or under a name that is not
            its own.
    """
    owners: dict[str, str] = {}
    found = Collected({}, {})
    always: list[tuple[str, Metric]] = [("accuracy", Accuracy()), ("loss", Loss())]
    for name, metric in always + _others(metrics):
        for key, value in _asked(name, metric, seen).items():
            _check_name(name, metric, key)
            if key in owners:
                why = f"gives {key!r}, which is a value of metrics.{owners[key]}; name it otherwise"
                raise _refusal(name, metric, why)
            owners[key] = name
            if isinstance(value, Array):
                _check_array(name, metric, key, value.values, seen.learning_rate)
                found.arrays.setdefault(name, {})[key] = value.values
            else:
                _check(name, metric, key, value, seen.learning_rate)
                found.numbers[key] = value
    return found


def _others(metrics: Mapping[str, Metric]) -> list[tuple[str, Metric]]:
    """All but the two that are always there."""
    return [(name, metric) for name, metric in metrics.items() if type(metric) not in (Accuracy, Loss)]


def _asked(name: str, metric: Metric, seen: Observation) -> Mapping[str, Tensor | Array]:
    found: object = metric(seen)
    if not isinstance(found, Mapping):
        raise _refusal(name, metric, f"must give a dict of values [E] by name, not a {type(found).__name__}")
    return found


def _check_name(name: str, metric: Metric, key: object) -> None:
    if not isinstance(key, str) or not key:
        raise _refusal(name, metric, f"gives a value the name {key!r}; must be a text")
    if key in RESERVED or (key.startswith(TAKEN) and not isinstance(metric, StepTime)):
        why = f"gives {key!r}; {', '.join(RESERVED)} and names that begin with {', '.join(TAKEN)} are taken"
        raise _refusal(name, metric, why)


def _check(name: str, metric: Metric, key: str, value: object, like: Tensor) -> None:
    """Refuse a value that is not one real number a member where `like` [E] is."""
    if not isinstance(value, Tensor):
        raise _refusal(name, metric, f"gives {key!r} as a {type(value).__name__}; must be a tensor [{len(like)}]")
    if value.shape != like.shape:
        shape, allowed = list(value.shape), f"must be [{len(like)}], one value a member, or an Array"
        raise _refusal(name, metric, f"gives {key!r} of shape {shape}; {allowed}")
    if value.is_complex() or value.device != like.device:
        raise _refusal(name, metric, f"gives {key!r} as {_kind(value)}; must be real numbers on {like.device}")


def _check_array(name: str, metric: Metric, key: str, value: object, like: Tensor) -> None:
    """Refuse an array without the member axis, of another device or dtype than can be written, or of no file's name."""
    if not re.fullmatch(r"[\w-]+", name):
        raise _refusal(name, metric, "gives an array, and its name must be that of a file: letters, digits, _ and -")
    if not isinstance(value, Tensor) or value.dim() == 0 or len(value) != len(like):
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise _refusal(name, metric, f"gives an array {key!r} of shape {shape}; must be a tensor [{len(like)}, ...]")
    if value.dtype not in _WRITABLE or value.device != like.device:
        allowed = f"must be of a dtype that numpy has, on {like.device}"
        raise _refusal(name, metric, f"gives an array {key!r} as {_kind(value)}; {allowed}")


_REAL = (torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_WRITABLE = (*_REAL, torch.bool, torch.complex64, torch.complex128)


def _kind(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} on {value.device}"


def _refusal(name: str, metric: Metric, why: str) -> ConfigError:
    return ConfigError(f"metrics.{name}", type(metric).__name__, why)
