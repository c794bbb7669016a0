"""Steps as replays of a CUDA graph: the host launches one graph in place of about a hundred kernels.

A replay runs the captured kernels on the same memory. So everything that differs between steps lies in tensors, which
`Stack.at` and this file fill before the replay. The captured step does not mask dead members. It updates them too, and
their old values are restored at the end of the stretch, before anything reads them. If a loss becomes non-finite within
a stretch, the whole stretch is restored and repeated step by step with masks. That happens at most once per member.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from grokplane.train.stack import Stack
from grokplane.train.step import Batch, gather, update_all

log = logging.getLogger(__name__)

WARM_UP = 3  # updates before the capture, in which the optimizer and cuBLAS allocate their memory
Step = Callable[[], None]


def cuda_graph(step: Step, device: torch.device) -> Step:
    """Capture a function on a device without running it, and return a function that replays it.

    Raises:
        RuntimeError: the function synchronises with the device.
    """
    graph = torch.cuda.CUDAGraph()
    own = torch.cuda.graph(graph, stream=torch.cuda.Stream(device), capture_error_mode="thread_local")
    # A failed capture leaves its stream as the current one. Other threads may continue to use the device.
    with torch.cuda.device(device), torch.cuda.stream(torch.cuda.current_stream(device)), own:
        step()
    return graph.replay


class CapturedSteps:
    """The steps of a stack, captured after the first few.

    Args:
        stack: what is trained.
        batch: the full batch; None if a batch is gathered at every step.
        record: turns a step on a device into a function that repeats it.
    """

    def __init__(
        self, stack: Stack, batch: Batch | None, record: Callable[[Step, torch.device], Step] = cuda_graph
    ) -> None:
        self._stack, self._batch, self._record = stack, batch, record
        self._first = stack.step
        self._replay: Step | None = None
        self._positions: Tensor | None = None
        self._refused = False

    def advance(self, positions: Tensor | None, until: int, stop: Callable[[], bool]) -> bool:
        """Do the updates up to step `until`, or fewer if `stop` asks; False, with nothing done, if none is captured.

        Args:
            positions: each step's points [until - step, E, B]; None for the full batch.
            until: the step at which to end.
            stop: called after every step.
        """
        stack = self._stack
        if self._refused or stack.step < self._first + WARM_UP:
            return False
        start, alive, diverged = stack.step, stack.alive.clone(), stack.diverged.clone()
        replay = self._replay or self._captured(positions)
        if replay is None:
            return False
        kept = stack.keep()
        for number in range(until - start):
            stack.at(stack.step)
            if positions is not None and self._positions is not None:
                self._positions.copy_(positions[number])
            replay()
            stack.step += 1
            if stop():
                break
        lost, all_alive = torch.stack([(stack.alive != alive).any(), alive.all()]).tolist()
        if lost:
            kept.put_all_back()
            stack.step = start
            stack.alive.copy_(alive)
            stack.diverged.copy_(diverged)
        elif not all_alive:
            kept.put_back()
        return not lost

    def _captured(self, positions: Tensor | None) -> Step | None:
        """Capture a step; None if that is impossible, with a warning if the capture fails."""
        stack = self._stack
        self._refused = not stack.capturable  # asked here, because the optimizer has its state by now
        if self._refused:
            return None
        self._positions = None if positions is None else positions[0].clone()
        stack.at(stack.step)

        def step() -> None:
            update_all(stack, self._batch or gather(stack, self._positions))  # type: ignore[arg-type]

        try:
            self._replay = self._record(step, stack.device)
        except RuntimeError as error:
            self._refused = True
            log.warning("the step cannot be captured as a CUDA graph and will be slower (%s)", error)
        return self._replay
