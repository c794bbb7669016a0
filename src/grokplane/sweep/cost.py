"""Cost of a stack by a short measurement: bytes per member, seconds per step and per log point."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from grokplane.metrics import Compressed, Information
from grokplane.train import LogOptions, Member, Stack, prepare_process, run

# Share of the free memory that a stack may take: other programs need memory, and so do the members' records.
SHARE = 0.5
ALWAYS, NEVER = LogOptions(dense_steps=1 << 62), LogOptions(dense_steps=0, every=1 << 62)


@dataclass(frozen=True)
class Memory:
    """Peak memory of a stack's tensors: `fixed + members * each` bytes."""

    fixed: int
    each: int

    def of(self, members: int) -> int:
        """Bytes of a stack of this many members."""
        return self.fixed + members * self.each

    def fitting(self, free: int) -> int:
        """Number of members that fit into this many free bytes; at least one."""
        return max(1, int(SHARE * free - self.fixed) // max(1, self.each))


def memory(member: Member, several_data: bool = False) -> Memory:
    """Measure the peak memory of stacks of one and of two such members, over a few updates and log points each.

    Parameters, gradients, optimizer state, data and activations all have the member axis, so every further member adds
    as much as the second one. The second member has another seed, so that it has its own data if the seed draws the
    data.

    Args:
        member: a member of the stack.
        several_data: whether the members of the stack differ in `data.seed`; then the second member does, too.
    """
    pair = [_cheap(member), _cheap(_other(member, several_data))]
    one, two = _peak(pair[:1]), _peak(pair)
    return Memory(max(0, 2 * one - two), max(1, two - one))


@dataclass(frozen=True)
class Pace:
    """Seconds that a stack takes per step, and additionally per log point."""

    step: float
    point: float

    def seconds(self, start: int, steps: int, log: LogOptions) -> float:
        """Seconds from step `start` to step `steps`, without figures and uploads at the end."""
        points, at = 1, start
        while (at := log.next_after(at)) < steps:
            points += 1
        return (steps - start) * self.step + (points + 1) * self.point


def pace(members: Sequence[Member], seconds: float = 1.0) -> Pace:
    """Time a built stack for about this many seconds: without log points, then with a log point at every step."""
    members = [_cheap(member) for member in members]
    plain = _seconds_a_step(members, NEVER, seconds / 2)
    return Pace(plain, max(0.0, _seconds_a_step(members, ALWAYS, seconds / 2) - plain))


def _other(member: Member, several_data: bool) -> Member:
    """The member with the next seed, and with the next `data.seed` if it has one and the members differ in it."""
    data: Any = member.data
    own = getattr(data, "seed", None)
    if several_data and own is not None:
        data = replace(data, seed=own + 1)
    return replace(member, seed=member.seed + 1, data=data)


def _cheap(member: Member) -> Member:
    """The member without work that is done once and cached on disk, without other threads, processes and runs."""
    member = replace(member, train=replace(member.train, start_from=None, branch_from=None))
    if isinstance(member.mi, Compressed):
        return replace(member, mi=replace(member.mi, code="pca", workers=0))
    if isinstance(member.mi, Information):
        return replace(member, mi=replace(member.mi, workers=0))
    return member


def _settled(member: Member) -> int:
    """The step from which on all steps take the same time and memory; on a GPU the step has been captured by then."""
    return 2 if member.train.device == "cpu" else 8


def _seconds_a_step(members: Sequence[Member], log: LogOptions, seconds: float) -> float:
    warm_up = _settled(members[0])
    prepare_process(members)
    stack = Stack([replace(member, log=log) for member in members])
    began: list[float] = []

    def stop() -> bool:
        if stack.step == warm_up:
            began.append(time.perf_counter())
        return stack.step > warm_up and time.perf_counter() - began[0] > seconds

    for _ in run(stack, stop):
        pass
    return (time.perf_counter() - began[0]) / (stack.step - warm_up) if stack.step > warm_up else 0.0


def _peak(members: Sequence[Member]) -> int:
    """Peak bytes of a stack's tensors over a few updates, with log points before and between them."""
    prepare_process(members)
    if members[0].train.device.startswith("cuda"):
        before = torch.cuda.memory_allocated(members[0].train.device)
        torch.cuda.reset_peak_memory_stats(members[0].train.device)
        _try_out(members)
        return torch.cuda.max_memory_allocated(members[0].train.device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # silences torch's profiler on standard error
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        _try_out(members)
    assert profiled.profiler is not None
    results = profiled.profiler.kineto_results
    assert results is not None
    events: list[Any] = sorted(results.events(), key=lambda event: event.start_ns())
    changes = (event.nbytes() for event in events if event.name() == "[memory]")
    return max(itertools.accumulate(changes, initial=0))


def _try_out(members: Sequence[Member]) -> None:
    stack = Stack([replace(member, log=ALWAYS) for member in members])
    for _ in run(stack, lambda: stack.step >= _settled(members[0])):
        pass
