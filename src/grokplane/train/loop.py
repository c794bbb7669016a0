"""The training loop.

Read from top to bottom: `run` -> `_Steps.advance` -> `update` in step.py, or its replay as a CUDA graph in capture.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import torch

from grokplane.callbacks import LogPoint
from grokplane.metrics import Observation, masked_fraction
from grokplane.train.capture import CapturedSteps
from grokplane.train.member import Member
from grokplane.train.memory import check_memory
from grokplane.train.observe import Record, measure, observe
from grokplane.train.observe import due as metrics_due
from grokplane.train.record_queue import Ready, RecordQueue
from grokplane.train.stack import Stack
from grokplane.train.step import gather, update, whole

T = TypeVar("T")

# Number of steps whose batch indices are drawn and moved to the device together. It is also the most steps between
# pauses.
CHUNK = 100


@dataclass(frozen=True)
class Point:
    """A pause of the loop at a step, before the update of that step.

    Attributes:
        step: number of updates done.
        state: returns a member's state, by the member's number. At a checkpoint that had to wait for estimates it is
            the state of an earlier step, which its "step" gives. Otherwise it is the present state.
        records: one flat record per member with its `step`, at a log point and where a member diverged; otherwise
            empty. A member without new values has an empty record. Estimates run beside training, so a record may come
            some steps late. Records keep their order, and all records of earlier steps come before a checkpoint.
        checkpoint: whether a checkpoint must be written.
        finished: whether each member will receive no more updates.
        interrupted: whether the caller asked to stop.
    """

    step: int
    state: Callable[[int], Mapping[str, Any]]
    records: Sequence[Record] = ()
    checkpoint: bool = False
    finished: Sequence[bool] = field(default=())
    interrupted: bool = False


def train(members: Sequence[Member]) -> Iterator[Point]:
    """Train members as one stack, from their initial weights to the end. `run` a `Stack` for more control.

    Call `prepare_process(members)` first. It applies `train.threads` and the other process-wide settings, which decide
    the last bits of the numbers.
    """
    return run(Stack(members))


def run(stack: Stack, stop: Callable[[], bool] = lambda: False, capture: bool = True) -> Iterator[Point]:
    """Train a stack from its step to `train.steps`. Pause at log points, at checkpoints and every CHUNK steps.

    Members that are over leave the stack's tensors at checkpoints and at multiples of CHUNK. Neither logging nor an
    interruption moves these steps, so the other members' round-off is the same however the run is logged and resumed.

    Args:
        stack: the stack to train. At a pause its state is that of the point's step.
        stop: called after every step. When it returns True, the loop pauses once more and ends.
        capture: capture the step as a CUDA graph where possible. The weights stay the same to the last bit.
    """
    stack.check_begun()
    member = stack.shared
    steps = member.train.steps
    check_memory(stack)
    steps_of, saves = _Steps(stack, capture), member.checkpoints
    reported = [False] * len(stack.rows)
    timer, queue, stopping = _Timer(), RecordQueue(), False
    try:
        while True:
            last = stack.step == steps or not bool(stack.alive.any())
            _log(stack, reported, timer, last, queue)
            last = last or not bool(stack.alive.any())
            before, reported = reported, [last or not alive for alive in stack.alive.tolist()]
            checkpoint, leaving = saves.due(stack.step), any(reported) and not last and _may_narrow(stack)
            ends = last or leaving or reported != before
            yield from _pause(stack, queue, last or checkpoint, reported, ends)
            if last:
                return
            if stopping:
                yield from _late(stack, queue.take(before=math.inf))
                yield Point(stack.step, stack.state, interrupted=True)
                return
            if leaving:
                stack.narrow()
                steps_of, reported = _Steps(stack, capture), [False] * len(stack.rows)
            until = min(steps, member.log.next_after(stack.step), saves.next_after(stack.step), _next_chunk(stack))
            with timer:
                timer.steps += steps_of.advance(until, stop)
                bool(stack.alive.any())  # waits for the device, so that the time is that of the steps
            stopping = stop()
    finally:
        if stack.gauge is not None:
            stack.gauge.close()


def _pause(stack: Stack, queue: RecordQueue, checkpoint: bool, reported: Sequence[bool], ends: bool) -> Iterator[Point]:
    """Yield the complete records: all records if a member ends, those of earlier steps before a checkpoint.

    While the queue has room, a checkpoint waits for these records and training goes on. A resumed run logs the step of
    its checkpoint again, so the record of that step may come after the checkpoint.
    """
    if checkpoint and not ends and queue.keeps_back(stack.step, stack.state_bytes):
        queue.put_states(stack.step, [stack.state(number) for number in range(len(stack.members))], stack.state_bytes)
        checkpoint = False
    complete = queue.take(before=math.inf if ends else stack.step * checkpoint)
    records = complete.pop().records if complete and not complete[-1].states else ()
    yield from _late(stack, complete)
    finished = _by_member(stack, reported, over=True)
    yield Point(stack.step, stack.state, _by_member(stack, records, over={}), checkpoint, finished)


def _late(stack: Stack, complete: Sequence[Ready]) -> Iterator[Point]:
    """Yield the entries that had to wait, as points of the present step."""
    for one in complete:
        state = one.states.__getitem__ if one.states else stack.state
        yield Point(stack.step, state, _by_member(stack, one.records, over={}), checkpoint=bool(one.states))


def _by_member(stack: Stack, of_rows: Sequence[T], over: T) -> list[T]:
    """Values of rows as values of members; members that have left the stack get `over`."""
    if not of_rows:
        return []
    rows = dict(zip(stack.rows, of_rows, strict=True))
    return [rows.get(number, over) for number in range(len(stack.members))]


def _log(stack: Stack, reported: Sequence[bool], timer: _Timer, last: bool, queue: RecordQueue) -> None:
    """Measure this pause: every row at a log point, and rows whose member diverged since the last pause."""
    log = stack.shared.log
    due = last or log.due(stack.step)
    looks: dict[int, list[int]] = {}  # step -> rows that have a record of this step
    steps = stack.steps()
    for row in (row for row, done in enumerate(reported) if not done):
        lost = steps[row] < stack.step or bool(stack.diverged[row] >= 0)
        # If a member diverged at a log point, that step has been recorded already.
        if not log.due(steps[row]) if lost else due:
            looks.setdefault(steps[row], []).append(row)
    seconds = timer.seconds_per_step() if looks else None
    for step in sorted(looks.keys() | ({stack.step} if due else set())):
        seen = observe(stack, seconds, step)
        metrics = metrics_due(stack, step)
        records = measure(stack, seen, metrics)
        marked = set[int]()
        if step == stack.step and due:
            marked = _mark(stack, seen, records, last)
            _show(stack, records)
            if stack.tracker is not None and any(getattr(metric, "tracks", False) for metric in metrics.values()):
                stack.tracker.read = True
        rows = looks.get(step, [])
        whole = [row for row in rows if last or not stack.alive[row] or row in marked]
        records = _with_all(stack, seen, records, whole)
        estimates = None if stack.gauge is None else stack.gauge.estimate(seen, rows)
        queue.put(step, [record if row in rows else {} for row, record in enumerate(records)], estimates)


def _with_all(stack: Stack, seen: Observation, records: list[Record], rows: Sequence[int]) -> list[Record]:
    """The records with all metrics for some rows, also metrics whose `every` passes this step.

    These are the rows whose last record this is, and those that fitted or generalised here.
    """
    if not rows or len(metrics_due(stack, seen.step)) == len(stack.shared.metrics):
        return records
    return [whole if row in rows else records[row] for row, whole in enumerate(measure(stack, seen))]


def _mark(stack: Stack, seen: Observation, records: Sequence[Record], last: bool) -> set[int]:
    """Mark the members that fitted, generalised or must stop at a log point; at the end, those that diverged.

    Returns the rows that fitted or generalised here.
    """
    held_out = seen.scored[stack.shared.grok.questions]
    named = [group for name in stack.examples.parts for group in _of_part(name)]
    groups = {group: seen.scored[group] for group in named if group in seen.scored}
    scores = [masked_fraction(subset.correct, subset) for subset in (seen.train, held_out, *groups.values())]
    fitted, generalised, *rest = torch.stack(scores).tolist()
    accuracies = dict(zip(groups, rest, strict=True))
    if last:
        stack.mark_diverged(~torch.isfinite(seen.train.mean(seen.train.losses)))
    made = set[int]()
    for row in torch.nonzero(stack.alive).flatten().tolist():
        marks, options = stack.marks[stack.rows[row]], stack.present[row].grok
        marks.see(stack.step, fitted[row], generalised[row], options)
        if marks.lasting is not None:
            further = {name: records[row].get(name, math.nan) for name in options.metrics}
            marks.lasting.see(stack.step, {"train": fitted[row], "test": generalised[row], **further})
        made |= {row} if marks.made_at(stack.step) else set()
        for name, part in marks.parts.items():
            own = [accuracies[group][row] if group in accuracies else math.nan for group in _of_part(name)]
            part.see(stack.step, *own, options)
        if marks.says_stop(stack.step, options):
            stack.alive[row] = False
    return made


def _of_part(name: str) -> tuple[str, str]:
    """The groups of a part that are fitted and generalised."""
    return f"train/{name}", f"test/{name}"


def _show(stack: Stack, records: Sequence[Record]) -> None:
    """Show this log point to the callbacks of the living, which may end them."""
    for row in torch.nonzero(stack.alive).flatten().tolist() if stack.hooks else ():
        number = stack.rows[row]
        if stack.hooks.show(number, LogPoint(stack.step, records[row], partial(stack.state, number))):
            stack.alive[row] = False


class _Steps:
    """The updates of a stack, with the data that they need while the members stay the same.

    Args:
        stack: the stack to train.
        capture: capture the step as a CUDA graph where possible.
    """

    def __init__(self, stack: Stack, capture: bool) -> None:
        self._stack = stack
        self._batch = None if stack.batches is not None else whole(stack)
        self._captured = CapturedSteps(stack, self._batch) if capture and stack.capturable else None

    def advance(self, until: int, stop: Callable[[], bool]) -> int:
        """Update up to step `until`, or until `stop` or the last member's end; return the number of steps done."""
        stack, batch = self._stack, self._batch
        start, positions = stack.step, stack.positions(stack.step, until)
        if stack.tracker is not None:
            stack.tracker.start()
        if self._captured is not None and self._captured.advance(positions, until, stop):
            return stack.step - start
        for number in range(until - start):
            update(stack, gather(stack, positions[number]) if batch is None and positions is not None else batch)
            if stack.device.type == "cpu" and not stack.alive.any():
                break
            stack.step += 1
            if stop():
                break
        return stack.step - start


def _may_narrow(stack: Stack) -> bool:
    return stack.shared.checkpoints.regular(stack.step) or (stack.step > 0 and stack.step % CHUNK == 0)


def _next_chunk(stack: Stack) -> int:
    return (stack.step // CHUNK + 1) * CHUNK


class _Timer:
    """Wall time of the updates since the last reading."""

    def __init__(self) -> None:
        self.steps, self._seconds, self._start = 0, 0.0, 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds += time.perf_counter() - self._start

    def seconds_per_step(self) -> float | None:
        """Mean seconds per step since the last call; None if there was no step."""
        mean = self._seconds / self.steps if self.steps else None
        self.steps, self._seconds = 0, 0.0
        return mean
