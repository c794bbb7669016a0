"""Collection of the values and arrays of all metrics at a log point, with checks of names and shapes."""

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

# Prefixes of names that no metric may use: wall-clock times, information, names of W&B.
TAKEN = ("time/", "MI(", "H(", "grok/", "_")
# Names that no metric may use: the step of a record, and the folder of arrays.
ARRAYS = "arrays"
RESERVED = ("step", ARRAYS)


class Collected(NamedTuple):
    """The values of all metrics of a log point.

    Attributes:
        numbers: numbers [E] by name.
        arrays: arrays [E, ...] by metric and name.
        optional: names of numbers that a member does not have where they are NaN.
    """

    numbers: dict[str, Tensor]
    arrays: dict[str, dict[str, Tensor]]
    optional: set[str]


def collected(metrics: Mapping[str, Metric], seen: Observation) -> Collected:
    """Compute the values of metrics; losses and accuracies are always included.

    Args:
        metrics: metrics by their name in the config.
        seen: the log point.

    Raises:
        ConfigError: if a metric returns values other than real numbers [E] and arrays, or uses a reserved name or the
            name of another metric.
    """
    owners: dict[str, str] = {}
    found = Collected({}, {}, set())
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
                if getattr(metric, "absent_if_nan", False):
                    found.optional.add(key)
    return found


def _others(metrics: Mapping[str, Metric]) -> list[tuple[str, Metric]]:
    """All metrics except the two that are always computed."""
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
    """Check that a value has one real number per member, on the device of `like` [E]."""
    if not isinstance(value, Tensor):
        raise _refusal(name, metric, f"gives {key!r} as a {type(value).__name__}; must be a tensor [{len(like)}]")
    if value.shape != like.shape:
        shape, allowed = list(value.shape), f"must be [{len(like)}], one value a member, or an Array"
        raise _refusal(name, metric, f"gives {key!r} of shape {shape}; {allowed}")
    if value.is_complex() or value.device != like.device:
        raise _refusal(name, metric, f"gives {key!r} as {_kind(value)}; must be real numbers on {like.device}")


def _check_array(name: str, metric: Metric, key: str, value: object, like: Tensor) -> None:
    """Check that an array has the member axis, a device and dtype that can be written, and a valid file name."""
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
