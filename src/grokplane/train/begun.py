"""What a run was begun with that its config does not say, kept in its checkpoints: it goes on with the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from grokplane.options import ConfigError
from grokplane.random import STREAMS

MOST_THREADS = 1024  # as of `train.threads`: far more and the process ends


def begun() -> dict[str, int]:
    """How this version reads a seed, and the CPU threads in use: with another number, sums have other last bits."""
    return {"streams": STREAMS, "threads": torch.get_num_threads()}


def go_on(states: Sequence[Mapping[str, Any]], seed: int) -> None:
    """Take the threads that the states of a stack's members were made with, the most of them where they differ.

    Args:
        states: one a member.
        seed: of one of them, for the message.

    Raises:
        ConfigError: a state of a version in which a seed meant another split, other batches and other noise, or one
            whose number of threads no run has.
    """
    if any(state.get("streams") != STREAMS for state in states):
        allowed = "stands for another split and other batches in this version than in the checkpoint's; begin anew"
        raise ConfigError("seed", seed, allowed)
    torch.set_num_threads(max(_threads(state) for state in states))


def _threads(state: Mapping[str, Any]) -> int:
    number = state.get("threads")
    if type(number) is not int or not 1 <= number <= MOST_THREADS:
        allowed = f"the checkpoint was made with so many threads; must be 1 to {MOST_THREADS}: begin anew"
        raise ConfigError("train.threads", number, allowed)
    return number
