"""Parsing one question that a user types: its operands, already split at the commas."""

from __future__ import annotations

import math
from collections.abc import Sequence

from grokplane.options import ConfigError


def refused(operands: Sequence[str], allowed: str) -> ConfigError:
    """The error for operands that give no question."""
    return ConfigError("question", ",".join(operands), allowed)


def residues(operands: Sequence[str], count: int, p: int) -> list[int]:
    """Parse the operands as residues.

    Raises:
        ConfigError: the operands are not `count` whole numbers from 0 to p - 1.
    """
    _check_count(operands, count)
    numbers = [_whole(text.strip()) for text in operands]
    if not all(0 <= number < p for number in numbers):
        raise refused(operands, f"operands must be 0 to {p - 1}")
    return numbers


def numbers(operands: Sequence[str], count: int) -> list[float]:
    """Parse the operands as numbers.

    Raises:
        ConfigError: the operands are not `count` finite numbers.
    """
    _check_count(operands, count)
    try:
        values = [float(text) for text in operands]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise refused(operands, "must be finite numbers")
    return values


def _check_count(operands: Sequence[str], count: int) -> None:
    if len(operands) != count:
        raise refused(operands, f"must be {count} numbers with commas between them, not {len(operands)}")


def _whole(text: str) -> int:
    """The number with these digits; -1 for text that is no operand."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
