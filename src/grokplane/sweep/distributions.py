"""Distributions of a sweep file's parameters: W&B's forms, listed for a grid or drawn at random.

Names and meanings are those of W&B's sweep configuration. `min` and `max` of `log_uniform` are natural logarithms.
Those of `log_uniform_values` are the values themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# Tolerance of the sum of probabilities, per probability, for probabilities written with three decimals.
ROUNDING = 0.0005

Draw = Callable[[np.random.Generator, Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Distribution:
    """One of W&B's distributions.

    Attributes:
        needs: required keys.
        draw: draws a value, before quantisation.
        takes: optional keys, with their defaults.
        quantised: whether values are rounded to multiples of `q`.
    """

    needs: tuple[str, ...]
    draw: Draw
    takes: Mapping[str, Any]
    quantised: bool = False

    def __call__(self, generator: np.random.Generator, keys: Mapping[str, Any]) -> Any:
        """Draw a value with these keys."""
        value = self.draw(generator, {**self.takes, **keys})
        if not self.quantised:
            return value
        q = keys.get("q", 1)
        return _multiple(round(value / q), q)


def _multiple(number: int, q: float) -> float:
    """`number` times q, rounded to the decimal number meant: 3 * 0.1 is 0.30000000000000004."""
    return number * q if isinstance(q, int) else float(f"{number * q:.12g}")


def _choice(generator: np.random.Generator, keys: Mapping[str, Any]) -> Any:
    chances = keys.get("probabilities")
    shares = None if chances is None else np.array(chances, dtype=float) / sum(chances)
    return keys["values"][int(generator.choice(len(keys["values"]), p=shares))]


def _uniform(generator: np.random.Generator, keys: Mapping[str, Any]) -> float:
    return float(generator.uniform(keys["min"], keys["max"]))


def _log_uniform_values(generator: np.random.Generator, keys: Mapping[str, Any]) -> float:
    return math.exp(generator.uniform(math.log(keys["min"]), math.log(keys["max"])))


def _normal(generator: np.random.Generator, keys: Mapping[str, Any]) -> float:
    return float(generator.normal(keys["mu"], keys["sigma"]))


_RANGE, _NORMAL = ("min", "max"), {"mu": 0.0, "sigma": 1.0}
_CONTINUOUS: dict[str, tuple[tuple[str, ...], Draw, Mapping[str, Any]]] = {
    "uniform": (_RANGE, _uniform, {}),
    "log_uniform": (_RANGE, lambda generator, keys: math.exp(_uniform(generator, keys)), {}),
    "log_uniform_values": (_RANGE, _log_uniform_values, {}),
    # log(1/x) uniform between the limits, which is the same distribution as log(x) uniform.
    "inv_log_uniform": (_RANGE, lambda generator, keys: math.exp(-_uniform(generator, keys)), {}),
    "inv_log_uniform_values": (_RANGE, _log_uniform_values, {}),
    "normal": ((), _normal, _NORMAL),
    "log_normal": ((), lambda generator, keys: math.exp(_normal(generator, keys)), _NORMAL),
    "beta": (("a", "b"), lambda generator, keys: float(generator.beta(keys["a"], keys["b"])), {}),
}
DISTRIBUTIONS = {
    "constant": Distribution(("value",), lambda generator, keys: keys["value"], {}),  # noqa: ARG005
    "categorical": Distribution(("values",), _choice, {}),
    "categorical_w_probabilities": Distribution(("values", "probabilities"), _choice, {}),
    "int_uniform": Distribution(
        _RANGE, lambda generator, keys: int(generator.integers(keys["min"], keys["max"], endpoint=True)), {}
    ),
    **{name: Distribution(*parts) for name, parts in _CONTINUOUS.items()},
    **{f"q_{n}": Distribution(*parts, quantised=True) for n, parts in _CONTINUOUS.items() if not n.startswith("inv_")},
}
# Distributions that can be listed value by value.
COUNTABLE = ("constant", "categorical", "int_uniform", "q_uniform")


def listed(name: str, keys: Mapping[str, Any], most: int) -> list[Any]:
    """The first `most` values of a countable distribution, for a grid.

    Raises:
        OverflowError: the limits are so many `q` apart that the number is not a float.
    """
    if name == "constant":
        return [keys["value"]]
    if name == "categorical":
        return keys["values"][:most]
    q, low, high = keys.get("q", 1), keys["min"], keys["max"]
    if all(isinstance(part, int) for part in (q, low, high)):
        numbers = range(-(-low // q), high // q + 1)
    else:
        numbers = range(math.ceil(low / q - 1e-9), math.floor(high / q + 1e-9) + 1)
    return [_multiple(number, q) for number in numbers[:most]]
