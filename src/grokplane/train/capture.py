"""Steps as replays of a CUDA graph, which cost the host one call in place of a hundred.

A replay does what was captured, with what it finds in the same memory: so all that differs from step to step lies in
tensors that are written to before it, by `Stack.at` and here. Nothing is masked: a member that is not alive is updated
in vain, and put back at the end of the stretch, before anybody looks. If a loss ceased to be finite on the way, the
whole stretch is put back and done again step by step with masks, which happens at most once a member.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from grokplane.train.stack import Stack
from grokplane.train.step import Batch, gather, update_all

log = logging.getLogger(__name__)

WARM_UP = 3  # updates before the capture: the optimizer's and cuBLAS's memory is there then
Step = Callable[[], None]


def cuda_graph(step: Step, device: torch.device) -> Step:
    """Capture what a function does on a device, without doing it; what does it again.

    Raises:
        RuntimeError: where it asks the device for something on the way.
    """
    graph = torch.cuda.CUDAGraph()
    own = torch.cuda.graph(graph, stream=torch.cuda.Stream(device), capture_error_mode="thread_local")
    # A capture that fails leaves its stream the current one. Other threads may go on with what they do on the device.
    with torch.cuda.device(device), torch.cuda.stream(torch.cuda.current_stream(device)), own:
        step()
    return graph.replay


class CapturedSteps:
    """The steps of a stack, captured after the first few.

    Args:
        stack: what is trained.
        batch: the full batch; None: one is gathered at every step.
        record: makes of a step on a device what repeats it.
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
        """Do the updates up to step `until`, or fewer if asked to stop; False, with nothing done, if another must.

        Args:
            positions: each step's points [until - step, E, B]; None for the full batch.
            until: the step to end at.
            stop: asked after every step.
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
        """Capture a step; None if that cannot be done, and a warning if it fails."""
        stack = self._stack
        self._refused = not stack.capturable  # now that the optimizer has its state
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
            log.warning("the step cannot be captured as a CUDA graph and is slower without (%s)", error)
        return self._replay
