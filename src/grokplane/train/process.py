"""Settings of a run that its config does not contain. Checkpoints store them, so that a resumed run keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from grokplane.options import ConfigError
from grokplane.process_settings import set_up_process
from grokplane.random import STREAMS
from grokplane.resources import cores
from grokplane.train.member import Member

MOST_THREADS = 1024  # the limit of `train.threads`: far more threads end the process


def process_facts() -> dict[str, int]:
    """The version of the seed streams and the number of CPU threads, on which the last bits of sums depend."""
    return {"streams": STREAMS, "threads": torch.get_num_threads()}


def prepare_process(members: Sequence[Member], states: Sequence[Mapping[str, Any]] = ()) -> None:
    """Set up this process for members that are to be trained, or asked, as one stack; see `set_up_process`.

    The number of threads is that of the states, the largest where they differ. Without states it is `train.threads`;
    where that is null, one thread a member, at most four, and no more than the estimates of information leave free.

    Args:
        members: the members of the stack.
        states: the states from which the members go on, see `Stack.state`.

    Raises:
        ConfigError: see `check_process_facts`.
    """
    check_process_facts(states, members[0].seed)
    # Threads that wait for a core which estimates are at can be many times slower than fewer threads.
    free = max(1, cores() - members[0].mi.workers)
    chosen = members[0].train.threads or min(len(members), 4, free)
    set_up_process(max((state["threads"] for state in states), default=chosen))


def check_process_facts(states: Sequence[Mapping[str, Any]], seed: int) -> None:
    """Refuse states with which this version cannot go on.

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
    for number in (state.get("threads") for state in states):
        if type(number) is not int or not 1 <= number <= MOST_THREADS:
            allowed = f"the checkpoint's number of threads; must be 1 to {MOST_THREADS}; start a new run"
            raise ConfigError("train.threads", number, allowed)
