"""Values of a log point that are still being computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

Values = dict[str, float]


@dataclass(frozen=True, eq=False)
class Job:
    """Values of one member: the function that computes them, and the future that will hold them."""

    member: int
    task: Callable[[], Values]
    future: Future[Values]


class Pending:
    """The values of one log point while they are being computed.

    Attributes:
        held: bytes of memory that the jobs hold until they are done.
    """

    def __init__(self, jobs: Sequence[Job], members: int, held: int) -> None:
        self._jobs, self._members, self.held = jobs, members, held

    def done(self) -> bool:
        """Whether `result` returns without waiting."""
        return all(job.future.done() for job in self._jobs)

    def result(self) -> list[Values]:
        """Return the values of each member by metric name; members that were not requested have none.

        The calling thread computes the jobs that have not started, from the last to the first.
        """
        helped = {job: job.task() for job in reversed(self._jobs) if job.future.cancel()}
        found: list[Values] = [{} for _ in range(self._members)]
        for job in self._jobs:
            found[job.member] |= helped[job] if job in helped else job.future.result()
        return found


def known(member: int, values: Values) -> Job:
    """A job whose values are known."""
    future: Future[Values] = Future()
    future.set_result(values)
    return Job(member, lambda: values, future)
