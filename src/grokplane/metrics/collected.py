"""The values of all metrics at a log point, each under a name of its own: what is not so is refused by name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from grokplane.metrics.accuracy import Accuracy
from grokplane.metrics.loss import Loss
from grokplane.metrics.metric import Metric
from grokplane.metrics.observation import Observation
from grokplane.metrics.step_time import StepTime
from grokplane.options import ConfigError

# Names of a record that are not a metric's: its step, wall-clock figures, estimates of information, W&B's own.
TAKEN = ("time/", "MI(", "H(", "grok/", "_")


def collected(metrics: Mapping[str, Metric], seen: Observation) -> dict[str, Tensor]:
    """The values by name, each [E]. Losses and accuracies are always among them.

    Args:
        metrics: by their name in the config.
        seen: the log point.

    Raises:
        ConfigError: a metric that gives something else than real numbers [E], or under a name that is not its own.
    """
    owners: dict[str, str] = {}
    values: dict[str, Tensor] = {}
    always: list[tuple[str, Metric]] = [("accuracy", Accuracy()), ("loss", Loss())]
    for name, metric in always + _others(metrics):
        found = _asked(name, metric, seen)
        for key, value in found.items():
            _check(name, metric, key, value, seen.learning_rate)
            if key in owners:
                why = f"gives {key!r}, which is a value of metrics.{owners[key]}; name it otherwise"
                raise _refusal(name, metric, why)
            owners[key] = name
        values |= found
    return values


def _others(metrics: Mapping[str, Metric]) -> list[tuple[str, Metric]]:
    """All but the two that are always there."""
    return [(name, metric) for name, metric in metrics.items() if type(metric) not in (Accuracy, Loss)]


def _asked(name: str, metric: Metric, seen: Observation) -> Mapping[str, Tensor]:
    found: object = metric(seen)
    if not isinstance(found, Mapping):
        raise _refusal(name, metric, f"must give a dict of values [E] by name, not a {type(found).__name__}")
    return found


def _check(name: str, metric: Metric, key: object, value: object, like: Tensor) -> None:
    """Refuse a value that is not one real number a member where `like` [E] is, or that has no name of its own."""
    if not isinstance(key, str) or not key:
        raise _refusal(name, metric, f"gives a value the name {key!r}; must be a text")
    if key == "step" or (key.startswith(TAKEN) and not isinstance(metric, StepTime)):
        raise _refusal(name, metric, f"gives {key!r}; step and names that begin with {', '.join(TAKEN)} are taken")
    if not isinstance(value, Tensor):
        raise _refusal(name, metric, f"gives {key!r} as a {type(value).__name__}; must be a tensor [{len(like)}]")
    if value.shape != like.shape:
        raise _refusal(
            name, metric, f"gives {key!r} of shape {list(value.shape)}; must be [{len(like)}], one value a member"
        )
    if value.is_complex() or value.device != like.device:
        there = f"{str(value.dtype).removeprefix('torch.')} on {value.device}"
        raise _refusal(name, metric, f"gives {key!r} as {there}; must be real numbers on {like.device}")


def _refusal(name: str, metric: Metric, why: str) -> ConfigError:
    return ConfigError(f"metrics.{name}", type(metric).__name__, why)
