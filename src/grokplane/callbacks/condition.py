"""Conditions on metrics as text: `Acc/test>=0.99 and Loss/test<0.1`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_NO_SIDE = re.compile(r"[<>=!]|^(and|or)\b|\b(and|or)$")
_COMPARISON = re.compile(r"(.+?)(>=|<=|==|!=|>|<)(.+)")


@dataclass(frozen=True)
class Comparison:
    """Two sides, each a number or the name of a metric, and the operator between them."""

    left: float | str
    operator: str
    right: float | str

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether the comparison is true; a comparison with a value that is not there or NaN is false."""
        left, right = (values.get(side) if isinstance(side, str) else side for side in (self.left, self.right))
        if left is None or right is None or left != left or right != right:
            return False
        return _OPERATORS[self.operator](left, right)


@dataclass(frozen=True)
class Condition:
    """Comparisons joined by `and`, and these by `or`; names may contain spaces, slashes and parentheses."""

    alternatives: tuple[tuple[Comparison, ...], ...]

    @classmethod
    def parse(cls, text: str) -> Condition:
        """The condition that a text describes.

        Raises:
            ValueError: it is none; the message quotes the part that is wrong.
        """
        parts = [re.split(r"\s+and\s+", part) for part in re.split(r"\s+or\s+", text.strip())]
        return cls(tuple(tuple(_comparison(one) for one in part) for part in parts))

    @property
    def names(self) -> list[str]:
        """The names of metrics in the condition, in order."""
        comparisons = [one for part in self.alternatives for one in part]
        return [side for one in comparisons for side in (one.left, one.right) if isinstance(side, str)]

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether the condition is true of metrics by name."""
        return any(all(one.holds(values) for one in part) for part in self.alternatives)


def _comparison(text: str) -> Comparison:
    found = _COMPARISON.fullmatch(text.strip())
    if found is None or any(not side.strip() or _NO_SIDE.search(side.strip()) for side in (found[1], found[3])):
        raise ValueError(f"{text.strip()!r} is no comparison of a metric with a number")
    return Comparison(_side(found[1]), found[2], _side(found[3]))


def _side(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip()
