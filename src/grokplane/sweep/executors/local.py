"""Training in this process, one stack after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grokplane.app.exit_codes import SIGNALLED
from grokplane.sweep.job import StackJob, StackResult


@dataclass(frozen=True)
class Local:
    """The executor `local`; it has no options."""

    def run(self, jobs: Sequence[StackJob]) -> Iterator[tuple[int, StackResult]]:
        """Train the stacks in order. No stack is started after one that a signal stopped."""
        from grokplane.sweep.stack_job import run_stack

        for position, job in enumerate(jobs):
            result = run_stack(job)
            yield position, result
            if result.exit_code >= SIGNALLED:
                return
