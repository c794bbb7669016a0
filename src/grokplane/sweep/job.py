"""A stack as a unit of work, in plain data that any process on any machine can read; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StackJob:
    """Members to train as one stack; picklable.

    Attributes:
        configs: each member's complete, resolved config as YAML text, without Hydra's node. With `train.resume=true` a
            member resumes from its folder's last checkpoint, which must be of the same step for all.
        folders: each member's folder, absolute.
        notes: files written to each folder's `.hydra/` beside `config.yaml`: file name to text.
        label: name of the stack in progress lines.
        plugins: modules that the process that trains the stack imports first, see `grokplane.plugins`.
    """

    configs: tuple[str, ...]
    folders: tuple[str, ...]
    notes: tuple[Mapping[str, str], ...] = ()
    label: str = ""
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True)
class StackResult:
    """Result of a stack; picklable.

    Attributes:
        exit_code: 0 when all finished, 3 when one diverged, 1 when one failed, 128 + the signal that asked to stop.
        summaries: each member's `summary.json`; None if it could not be trained.
        errors: one line for each member that failed; None for the others.
    """

    exit_code: int
    summaries: tuple[Mapping[str, Any] | None, ...]
    errors: tuple[str | None, ...]
