"""The loop. Read from top to bottom: run -> advance -> update."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from grokplane.optim import masks_over
from grokplane.train.desk import Desk
from grokplane.train.member import Member
from grokplane.train.observe import Record, measure, observe
from grokplane.train.stack import Stack

# Steps whose batch indices are drawn and moved to the device together, and the longest stretch without a sign of life.
CHUNK = 100


@dataclass(frozen=True)
class Point:
    """A step at which the loop pauses, before the update of that step.

    Attributes:
        step: number of updates done.
        records: one flat record a member with its `step`, of a log point and where a member is lost; else empty. A
            member that has nothing to tell has an empty record. What is estimated beside training comes with the
            records some steps later, in their order; those of earlier steps all before a checkpoint.
        checkpoint: whether a checkpoint is due.
        finished: whether each member will be updated no more.
        interrupted: whether the caller asked to stop.
    """

    step: int
    records: Sequence[Record] = ()
    checkpoint: bool = False
    finished: Sequence[bool] = field(default=())
    interrupted: bool = False


def train(members: Sequence[Member]) -> Iterator[Point]:
    """Train members as one stack, from their initial weights to the end; `run` a `Stack` for more control."""
    return run(Stack(members))


def run(stack: Stack, stop: Callable[[], bool] = lambda: False) -> Iterator[Point]:
    """Train a stack from its step to `train.steps`, pausing at log points, at checkpoints and every CHUNK steps.

    Args:
        stack: what to train; its state at a pause is that of the point's step.
        stop: asked after every step; when it says yes the loop pauses once more and ends.
    """
    member = stack.members[0]
    steps = member.train.steps
    batch = None if stack.batches is not None else _whole(stack)
    told = [False] * len(stack.members)
    timer = _Timer()
    with stack.gauge or nullcontext():
        desk = Desk()
        while True:
            last = stack.step == steps or not bool(stack.alive.any())
            _log(stack, told, timer, last, desk)
            last = last or not bool(stack.alive.any())
            before, told = told, [last or not alive for alive in stack.alive.tolist()]
            checkpoint = last or _checkpoint_due(stack)
            ends = last or told != before  # a resumed run logs the step of its checkpoint again, so that may wait
            *earlier, records = desk.take(before=math.inf if ends else stack.step * checkpoint) or [[]]
            yield from (Point(stack.step, older) for older in earlier)
            yield Point(stack.step, records, checkpoint, told)
            if last:
                return
            until = min(steps, member.log.next_after(stack.step), _next_checkpoint(stack), stack.step + CHUNK)
            with timer:
                timer.steps += _advance(stack, until, batch, stop)
                bool(stack.alive.any())  # a device may still be at it: wait, so that the time is that of the steps
            if stop() and stack.step < steps:
                yield from (Point(stack.step, older) for older in desk.take(before=math.inf))
                yield Point(stack.step, interrupted=True)
                return


def _log(stack: Stack, told: Sequence[bool], timer: _Timer, last: bool, desk: Desk) -> None:
    """Measure what this pause tells of each member: all at a log point, else those that diverged since the last one."""
    log = stack.members[0].log
    due = last or log.due(stack.step)
    lost = [not done and step >= 0 for done, step in zip(told, stack.diverged.tolist(), strict=True)]
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
        for done, gone, record in zip(told, lost, records, strict=True)
    ]
    numbers = [number for number, want in enumerate(wanted) if want]
    estimates = None if stack.gauge is None else stack.gauge.estimate(seen, numbers)
    desk.put(stack.step, [record if want else {} for record, want in zip(records, wanted, strict=True)], estimates)


def _advance(stack: Stack, until: int, batch: _Batch | None, stop: Callable[[], bool]) -> int:
    """Do the updates up to step `until`, or fewer if asked to stop or if no member is left; the number done."""
    start, positions = stack.step, stack.positions(stack.step, until)
    for number in range(until - start):
        _update(stack, _gather(stack, positions[number]) if batch is None and positions is not None else batch)
        if stack.device.type == "cpu" and not stack.alive.any():
            break
        stack.step += 1
        if stop():
            break
    return stack.step - start


@dataclass(frozen=True)
class _Batch:
    """What one update learns from.

    Attributes:
        encoded: questions [E, B, ...].
        targets: answers [E, B].
        real: 1 for points and 0 for padding [E, B]; None where nothing is padding.
        count: number of real points [E].
    """

    encoded: Tensor
    targets: Tensor
    real: Tensor | None
    count: Tensor

    def mean(self, losses: Tensor) -> Tensor:
        """Each member's mean loss [E]."""
        return losses.mean(1) if self.real is None else (losses * self.real).sum(1) / self.count


def _gather(stack: Stack, positions: Tensor) -> _Batch:
    inputs, targets = stack.examples.train.batch(positions)
    return _Batch(stack.network.encode(inputs), targets, None, stack.examples.train.count)


def _whole(stack: Stack) -> _Batch:
    """The full batch, encoded once; members with fewer points than others are padded."""
    subset = stack.examples.train
    real = None if bool(subset.mask.all()) else subset.mask.to(stack.dtype)
    return _Batch(stack.network.encode(subset.inputs()), subset.targets, real, subset.count)


def _update(stack: Stack, batch: _Batch | None) -> None:
    """One step: forward, loss and backward as the rules want them, then the optimizer."""
    assert batch is not None
    member = stack.members[0]
    stack.network.at(stack.step)

    def backward() -> Tensor:
        for parameter in stack.parameters.values():
            parameter.grad = None
        means = batch.mean(member.loss(stack.network(batch.encoded), batch.targets))
        means.sum().backward()
        for parameter in stack.parameters.values():
            if parameter.grad is None:  # the loss does not reach it; its weight decay does
                parameter.grad = torch.zeros_like(parameter)
        return means.detach()

    before = [value.clone() for value in stack.buffers]
    for rule in stack.rules.values():
        backward = rule.around(stack.step, backward)
    means = backward()
    factor = member.schedule(stack.step, member.train.steps)
    if stack.device.type == "cpu" and math.isfinite(means.sum().item()) and bool(stack.alive.all()):
        _apply(stack, factor)  # on a CPU nothing waits for the question, and masking costs copies
        return
    stack.mark_diverged(~torch.isfinite(means))
    for value, old in zip(stack.buffers, before, strict=True):
        value.copy_(torch.where(masks_over(stack.alive, value), value, old))
    restore = stack.freezer()
    _apply(stack, factor)
    restore()


@torch.no_grad()
def _apply(stack: Stack, factor: float) -> None:
    """Gradients to weights."""
    for rule in stack.rules.values():
        rule.before(stack.step, factor)
    stack.optimizer.schedule(factor)
    stack.optimizer.step()
    for rule in stack.rules.values():
        rule.after(stack.step)


def _note_grokking(stack: Stack, records: Sequence[Record]) -> None:
    """Note the accuracies of the living; freeze the members that were to stop some steps after generalising."""
    for number in torch.nonzero(stack.alive).flatten().tolist():
        member, marks, record = stack.members[number], stack.marks[number], records[number]
        marks.see(stack.step, record["Acc/train"], record["Acc/test"], member.grok)
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
