"""Values of a log point that are still being made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

Values = dict[str, float]


@dataclass(frozen=True, eq=False)
class Job:
    """Values of one member: what makes them, and where they will be."""

    member: int
    task: Callable[[], Values]
    future: Future[Values]


class Pending:
    """The values of one log point while they are being made.

    Attributes:
        held: bytes that it keeps in memory until then.
    """

    def __init__(self, jobs: Sequence[Job], members: int, held: int) -> None:
        self._jobs, self._members, self.held = jobs, members, held

    def done(self) -> bool:
        """Whether `result` returns at once."""
        return all(job.future.done() for job in self._jobs)

    def result(self) -> list[Values]:
        """The values of each member by metric name; does itself, from the last on, what nobody has begun yet.

        Members that were not asked for have none.
        """
        helped = {job: job.task() for job in reversed(self._jobs) if job.future.cancel()}
        found: list[Values] = [{} for _ in range(self._members)]
        for job in self._jobs:
            found[job.member] |= helped[job] if job in helped else job.future.result()
        return found


def known(member: int, values: Values) -> Job:
    """Values that are there already."""
    future: Future[Values] = Future()
    future.set_result(values)
    return Job(member, lambda: values, future)
