"""What a run was begun with that its config does not say, kept in its checkpoints: it goes on with the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from grokplane.options import ConfigError
from grokplane.random import STREAMS


def begun() -> dict[str, int]:
    """How this version reads a seed, and the CPU threads in use: with another number, sums have other last bits."""
    return {"streams": STREAMS, "threads": torch.get_num_threads()}


def go_on(states: Sequence[Mapping[str, Any]], seed: int) -> None:
    """Take the threads that the states of a stack's members were made with, the most of them where they differ.

    Args:
        states: one a member.
        seed: of one of them, for the message.

    Raises:
        ConfigError: a state of a version in which a seed meant another split, other batches and other noise.
    """
    if any(state.get("streams") != STREAMS for state in states):
        allowed = "stands for another split and other batches in this version than in the checkpoint's; begin anew"
        raise ConfigError("seed", seed, allowed)
    torch.set_num_threads(max(state["threads"] for state in states))
