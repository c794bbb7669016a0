"""Settings of a run that its config does not contain. Checkpoints store them, so that a resumed run keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from grokplane.options import ConfigError
from grokplane.random import STREAMS

MOST_THREADS = 1024  # the limit of `train.threads`: far more threads end the process


def begun() -> dict[str, int]:
    """The version of the seed streams and the number of CPU threads, on which the last bits of sums depend."""
    return {"streams": STREAMS, "threads": torch.get_num_threads()}


def go_on(states: Sequence[Mapping[str, Any]], seed: int) -> None:
    """Set the number of threads stored in the members' states, the largest where the states differ.

    Args:
        states: one per member.
        seed: the seed of one member, for the error message.

    Raises:
        ConfigError: a state of a version in which a seed gave another split, other batches and other noise, or a state
            with an impossible number of threads.
    """
    if any(state.get("streams") != STREAMS for state in states):
        allowed = "gives another split and other batches in this version than in the checkpoint's; start a new run"
        raise ConfigError("seed", seed, allowed)
    torch.set_num_threads(max(_threads(state) for state in states))


def _threads(state: Mapping[str, Any]) -> int:
    number = state.get("threads")
    if type(number) is not int or not 1 <= number <= MOST_THREADS:
        allowed = f"the checkpoint's number of threads; must be 1 to {MOST_THREADS}; start a new run"
        raise ConfigError("train.threads", number, allowed)
    return number
