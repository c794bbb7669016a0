"""Training on a Ray cluster, one task per stack."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grokplane.options import ConfigError, checked, option
from grokplane.sweep.executors.remote import collect, imported, last_line, lost
from grokplane.sweep.job import StackJob, StackResult

if TYPE_CHECKING:
    import ray

KEY = "hydra.launcher.ray"
CONNECT_SECONDS = 10


@dataclass(frozen=True)
@checked
class RayCluster:
    """The executor `ray`."""

    address: str | None = option(None, "HOST:PORT, ray://HOST:PORT or auto; null: a cluster on this machine")
    num_cpus: float = option(1.0, "cores per stack", above=0)
    num_gpus: float = option(0.0, "GPUs per stack; 0.5 lets two stacks share one", at_least=0)

    def run(self, jobs: Sequence[StackJob]) -> Iterator[tuple[int, StackResult]]:
        """Train every stack as a task; yield results as they end. A cluster started here is stopped afterwards.

        Raises:
            ConfigError: ray is not installed, the cluster does not exist, or it is too small for one stack.
        """
        self.check()
        if not jobs:
            return iter(())
        import ray

        if ray.is_initialized():
            return self._results(jobs)
        self._connect()
        return self._results_then_shutdown(jobs)

    def check(self) -> None:
        """Raise ConfigError unless ray is installed."""
        imported("ray", "ray", "ray")

    def _connect(self) -> None:
        """Start a cluster on this machine, or connect to the configured one."""
        import ray

        if self.address is None:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # prevents Ray from reporting usage over the network
            ray.init(address="local", include_dashboard=False, log_to_driver=False, configure_logging=False)
            self._check_size()
            return
        try:
            _knock(self.address)
            ray.init(address=self.address, log_to_driver=False, configure_logging=False)
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"{KEY}.address", self.address, f"no Ray cluster there: {last_line(str(error))}"
            ) from None

    def _check_size(self) -> None:
        """Refuse resources that this machine does not have: Ray would wait for them for ever."""
        import ray

        machine = ray.cluster_resources()
        for name, wanted in (("CPU", self.num_cpus), ("GPU", self.num_gpus)):
            if wanted > machine.get(name, 0):
                ray.shutdown()
                key = f"{KEY}.num_{name.lower()}s"
                raise ConfigError(key, wanted, f"must be at most {machine.get(name, 0):g}, what this machine has")

    def _results(self, jobs: Sequence[StackJob]) -> Iterator[tuple[int, StackResult]]:
        import ray

        task = ray.remote(num_cpus=self.num_cpus, num_gpus=self.num_gpus, max_retries=0)(train_in)
        place = os.getcwd()
        return collect(jobs, lambda job: _RayJob(job, task.remote(place, job)), max(len(jobs), 1))

    def _results_then_shutdown(self, jobs: Sequence[StackJob]) -> Iterator[tuple[int, StackResult]]:
        import ray

        try:
            yield from self._results(jobs)
        finally:
            ray.shutdown()


class _RayJob:
    """A stack that Ray trains."""

    def __init__(self, job: StackJob, reference: ray.ObjectRef[StackResult]) -> None:
        self._job, self._reference = job, reference

    def done(self) -> bool:
        import ray

        return bool(ray.wait([self._reference], timeout=0)[0])

    def result(self) -> StackResult:
        import ray.exceptions

        from grokplane.sweep.stack_job import failure_line

        try:
            return ray.get(self._reference)
        except ray.exceptions.RayTaskError as error:
            return lost(self._job, failure_line(error.cause))
        except ray.exceptions.RayError as error:
            return lost(self._job, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")

    def cancel(self) -> None:
        import ray

        ray.cancel(self._reference)  # raises KeyboardInterrupt in the worker


def train_in(place: str, job: StackJob) -> StackResult:
    """`run_stack` in a worker process, in the folder that relative paths of the config refer to."""
    from grokplane.sweep.stack_job import run_stack

    os.chdir(place)
    return run_stack(job)


def _knock(address: str) -> None:
    """Raise OSError if nothing listens at the address; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
