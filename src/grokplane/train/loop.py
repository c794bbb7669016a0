"""The loop. Read from top to bottom: run -> advance -> `update` in step.py, or its replay in capture.py."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from grokplane.train.capture import CapturedSteps
from grokplane.train.member import Member
from grokplane.train.observe import Record, measure, observe
from grokplane.train.record_queue import Ready, RecordQueue
from grokplane.train.stack import Stack
from grokplane.train.step import Batch, gather, update, whole

# Steps whose batch indices are drawn and moved to the device together, and the longest stretch without a sign of life.
CHUNK = 100


@dataclass(frozen=True)
class Point:
    """A step at which the loop pauses, before the update of that step.

    Attributes:
        step: number of updates done.
        state: gives a member's state: the checkpoint's where one is due, else the present one. Where records of steps
            before a checkpoint are complete only now, it is of an earlier step, as its own "step" says.
        records: one flat record a member with its `step`, of a log point and where a member is lost; else empty. A
            member that has nothing to tell has an empty record. What is estimated beside training comes with the
            records some steps later, in their order; those of earlier steps all before a checkpoint.
        checkpoint: whether a checkpoint is due.
        finished: whether each member will be updated no more.
        interrupted: whether the caller asked to stop.
    """

    step: int
    state: Callable[[int], Mapping[str, Any]]
    records: Sequence[Record] = ()
    checkpoint: bool = False
    finished: Sequence[bool] = field(default=())
    interrupted: bool = False


def train(members: Sequence[Member]) -> Iterator[Point]:
    """Train members as one stack, from their initial weights to the end; `run` a `Stack` for more control."""
    return run(Stack(members))


def run(stack: Stack, stop: Callable[[], bool] = lambda: False, capture: bool = True) -> Iterator[Point]:
    """Train a stack from its step to `train.steps`, pausing at log points, at checkpoints and every CHUNK steps.

    Args:
        stack: what to train; its state at a pause is that of the point's step.
        stop: asked after every step; when it says yes the loop pauses once more and ends.
        capture: capture the step as a CUDA graph where that can be done; the same bits, sooner.
    """
    member = stack.members[0]
    steps = member.train.steps
    batch = None if stack.batches is not None else whole(stack)
    captured = CapturedSteps(stack, batch) if capture and stack.capturable else None
    reported = [False] * len(stack.members)
    timer, stopping = _Timer(), False
    with stack.gauge or nullcontext():
        queue = RecordQueue()
        while True:
            last = stack.step == steps or not bool(stack.alive.any())
            _log(stack, reported, timer, last, queue)
            last = last or not bool(stack.alive.any())
            before, reported = reported, [last or not alive for alive in stack.alive.tolist()]
            yield from _pause(stack, queue, last or _checkpoint_due(stack), reported, ends=last or reported != before)
            if last:
                return
            if stopping:
                yield from _late(stack, queue.take(before=math.inf))
                yield Point(stack.step, stack.state, interrupted=True)
                return
            until = min(steps, member.log.next_after(stack.step), _next_checkpoint(stack), stack.step + CHUNK)
            with timer:
                timer.steps += _advance(stack, until, batch, captured, stop)
                bool(stack.alive.any())  # a device may still be at it: wait, so that the time is that of the steps
            stopping = stop()


def _pause(stack: Stack, queue: RecordQueue, checkpoint: bool, reported: Sequence[bool], ends: bool) -> Iterator[Point]:
    """What is complete by now: all of it where a member ends, all of earlier steps ahead of a checkpoint.

    While there is room, a checkpoint waits for those, and training goes on. A resumed run logs the step of its
    checkpoint again, so the record of that step may come later.
    """
    if checkpoint and not ends and queue.keeps_back(stack.step, stack.state_bytes):
        queue.put_states(stack.step, [stack.state(number) for number in range(len(reported))], stack.state_bytes)
        checkpoint = False
    complete = queue.take(before=math.inf if ends else stack.step * checkpoint)
    records = complete.pop().records if complete and not complete[-1].states else ()
    yield from _late(stack, complete)
    yield Point(stack.step, stack.state, records, checkpoint, reported)


def _late(stack: Stack, complete: Sequence[Ready]) -> Iterator[Point]:
    """What had to wait, at the present step."""
    for one in complete:
        state = one.states.__getitem__ if one.states else stack.state
        yield Point(stack.step, state, one.records, checkpoint=bool(one.states))


def _log(stack: Stack, reported: Sequence[bool], timer: _Timer, last: bool, queue: RecordQueue) -> None:
    """Measure what this pause tells of each member: all at a log point, else those that diverged since the last one."""
    log = stack.members[0].log
    due = last or log.due(stack.step)
    lost = [not done and step >= 0 for done, step in zip(reported, stack.diverged.tolist(), strict=True)]
    if not (due or any(lost)):
        return
    seen = observe(stack, timer.seconds_per_step())
    records = measure(stack, seen)
    if last:
        stack.mark_diverged(torch.tensor([not math.isfinite(record["Loss/train"]) for record in records]))
    _note_grokking(stack, records)
    # The step at which a member was lost has its row already if it was a log point.
    wanted = [
        not done and (not log.due(record["step"]) if gone else due)
        for done, gone, record in zip(reported, lost, records, strict=True)
    ]
    numbers = [number for number, want in enumerate(wanted) if want]
    estimates = None if stack.gauge is None else stack.gauge.estimate(seen, numbers)
    queue.put(stack.step, [record if want else {} for record, want in zip(records, wanted, strict=True)], estimates)


def _advance(
    stack: Stack, until: int, batch: Batch | None, captured: CapturedSteps | None, stop: Callable[[], bool]
) -> int:
    """Do the updates up to step `until`, or fewer if asked to stop or if no member is left; the number done."""
    start, positions = stack.step, stack.positions(stack.step, until)
    if captured is not None and captured.advance(positions, until, stop):
        return stack.step - start
    for number in range(until - start):
        update(stack, gather(stack, positions[number]) if batch is None and positions is not None else batch)
        if stack.device.type == "cpu" and not stack.alive.any():
            break
        stack.step += 1
        if stop():
            break
    return stack.step - start


def _note_grokking(stack: Stack, records: Sequence[Record]) -> None:
    """Note the accuracies of the living; freeze the members that were to stop some steps after generalising."""
    for number in torch.nonzero(stack.alive).flatten().tolist():
        member, marks, record = stack.members[number], stack.marks[number], records[number]
        marks.see(stack.step, record["Acc/train"], record[f"Acc/{member.grok.questions}"], member.grok)
        if marks.says_stop(stack.step, member.grok):
            stack.alive[number] = False


def _checkpoint_due(stack: Stack) -> bool:
    step = stack.step
    return step > 0 and (step & (step - 1) == 0 or step % stack.members[0].train.checkpoint_every == 0)


def _next_checkpoint(stack: Stack) -> int:
    every = stack.members[0].train.checkpoint_every
    return min((stack.step // every + 1) * every, 1 << stack.step.bit_length())


class _Timer:
    """Wall time of the updates since it was last asked."""

    def __init__(self) -> None:
        self.steps, self._seconds, self._start = 0, 0.0, 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds += time.perf_counter() - self._start

    def seconds_per_step(self) -> float | None:
        """Mean seconds of a step since the last call; None if there was none."""
        mean = self._seconds / self.steps if self.steps else None
        self.steps, self._seconds = 0, 0.0
        return mean
