"""Training as Slurm jobs, one per stack, through submitit; its local cluster runs the jobs as local processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from grokplane.app.exit_codes import SIGNALLED
from grokplane.options import ConfigError, checked, option
from grokplane.resources import cores
from grokplane.sweep.executors.remote import collect, imported, last_line, lost, unfinished
from grokplane.sweep.job import StackJob, StackResult

if TYPE_CHECKING:
    import submitit

KEY = "hydra.launcher.submitit"
# Beside the jobs' folders, one folder per call: submitted jobs, results, standard output and error.
FOLDER = ".submitit"
# Slurm is polled at least every ten minutes; by then a requeued job is listed as waiting.
PREEMPTED_SECONDS = 1200


@dataclass(frozen=True)
@checked
class Slurm:
    """The executor `submitit`."""

    cluster: str = option("slurm", "slurm, or local: processes of this machine", choices=("slurm", "local"))
    timeout_min: int = option(60, "time limit of a job in minutes; then the job is requeued", at_least=1)
    cpus_per_task: int = option(1, "cores of a job", at_least=1)
    gpus_per_node: int = option(0, "GPUs of a job", at_least=0)
    mem_gb: float | None = option(None, "memory of a job in GB; null: the partition's default", above=0)
    partition: str | None = option(None, "Slurm partition; null: the cluster's default")
    account: str | None = option(None, "Slurm account; null: the user's default")
    max_timeouts: int = option(10, "how often a job is requeued after its time limit", at_least=0)
    max_jobs: int | None = option(
        None, "jobs queued or running at a time; null: all (local: cores / cpus_per_task)", at_least=1
    )

    def run(self, jobs: Sequence[StackJob]) -> Iterator[tuple[int, StackResult]]:
        """Train every stack in a job of its own; yield results as they end.

        Raises:
            ConfigError: submitit is not installed, or this machine has no Slurm.
        """
        self.check()
        if not jobs:
            return iter(())
        executor = self._executor(jobs)
        return collect(jobs, lambda job: self._submit(executor, job), self._at_once(len(jobs)))

    def check(self) -> None:
        """Raise ConfigError unless submitit is installed and, for the cluster `slurm`, this machine has Slurm."""
        imported("submitit", "submitit", "slurm")
        if self.cluster == "slurm" and shutil.which("srun") is None:
            raise ConfigError(f"{KEY}.cluster", self.cluster, "needs Slurm's srun on the PATH; allowed here: local")

    def _executor(self, jobs: Sequence[StackJob]) -> submitit.AutoExecutor:
        import submitit

        shared = os.path.commonpath([Path(folder).parent for job in jobs for folder in job.folders])
        most = {f"{self.cluster}_max_num_timeout": self.max_timeouts}
        # One folder per call, because process ids recur, and a job's files are named by its id.
        call = f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
        executor = submitit.AutoExecutor(Path(shared, FOLDER, call), cluster=self.cluster, **most)
        executor.update_parameters(
            name="grokplane",
            timeout_min=self.timeout_min,
            cpus_per_task=self.cpus_per_task,
            gpus_per_node=self.gpus_per_node or None,
            mem_gb=self.mem_gb,
            slurm_partition=self.partition,
            slurm_account=self.account,
        )
        return executor

    def _at_once(self, jobs: int) -> int:
        if self.max_jobs is not None or self.cluster != "local":
            return self.max_jobs or max(jobs, 1)
        return max(1, cores() // self.cpus_per_task)

    def _submit(self, executor: submitit.AutoExecutor, job: StackJob) -> Submitted:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        # A terminal sends Ctrl-C to all processes of the session; local jobs must receive it only from `cancel`.
        earlier = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return Submitted(job, executor.submit(Resumable(self.cpus_per_task), job))
        except (FailedJobError, FailedSubmissionError) as error:
            return Submitted(job, f"could not be submitted: {last_line(str(error))}")
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, earlier)


class Submitted:
    """A job that submitit runs, or the reason why it was not submitted."""

    def __init__(self, job: StackJob, handle: submitit.Job[StackResult] | str) -> None:
        self._job, self._handle = job, handle
        self._preempted_since: float | None = None

    def done(self) -> bool:
        """Whether it has ended; a job that stays pre-empted will not return."""
        if isinstance(self._handle, str) or self._handle.done():
            return True
        if self._handle.state != "PREEMPTED":
            self._preempted_since = None
            return False
        self._preempted_since = self._preempted_since or time.monotonic()
        return time.monotonic() - self._preempted_since > PREEMPTED_SECONDS

    def result(self) -> StackResult:
        """Its return value, or a result with the reason why there is none."""
        if isinstance(self._handle, str):
            return lost(self._job, self._handle)
        if self._handle.done() and self._handle.exception() is None:
            return self._handle.result()
        return lost(self._job, f"job {self._handle.job_id}: {self._reason()}; its log: {self._handle.paths.stderr}")

    def _reason(self) -> str:
        assert not isinstance(self._handle, str)
        if not self._handle.done():
            return "pre-empted and not requeued"
        if not self._handle.paths.result_pickle.exists():
            return f"no result, {self._handle.state}"
        return last_line(str(self._handle.exception()).partition("You can check")[0])

    def cancel(self) -> None:
        """Remove it from the queue, or make its process stop after the step."""
        if isinstance(self._handle, str) or self._handle.done():
            return
        import submitit

        if isinstance(self._handle, submitit.LocalJob):
            with contextlib.suppress(ProcessLookupError):  # the process has ended
                os.kill(int(self._handle.job_id), signal.SIGTERM)  # submitit's own `cancel` kills after a second
        else:
            self._handle.cancel(check=False)
            self._handle.watcher.register_job(self._handle.job_id)  # makes submitit poll Slurm frequently again


class Resumable:
    """`run_stack` as a job that resumes from its checkpoints whenever it is started again.

    At the time limit and at a pre-emption submitit's signal (USR2) stops the stack after its step, and the job is
    requeued. SIGTERM stops the stack too, but without a result, so that Slurm alone determines whether the job is over
    (cancelled) or returns (pre-empted, requeued).

    Args:
        cores: cores of the job, which limit its threads; None: the cores that the process may use.
    """

    def __init__(self, cores: int | None = None) -> None:
        self._cores = cores

    def __call__(self, job: StackJob) -> StackResult:
        """Train the stack in the job's process."""
        from grokplane.sweep.stack_job import run_stack

        if self._cores is not None:
            os.environ.setdefault("OMP_NUM_THREADS", str(self._cores))
        if os.environ.get("SLURM_RESTART_COUNT", "0") != "0":
            job = resumed(job)
        number = notice_signal()
        queue_again, noticed = signal.getsignal(number), list[int]()

        def notice(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (the signature of a handler)
            noticed.append(number)
            os.kill(os.getpid(), signal.SIGTERM)

        signal.signal(number, notice)
        signal.signal(signal.SIGTERM, _leave)
        result = _unless_left(run_stack, job)
        if result is not None and not any(unfinished(result)):
            return result
        if noticed and callable(queue_again):
            queue_again(number, None)
        sys.exit(SIGNALLED + signal.SIGTERM)

    def checkpoint(self, job: StackJob) -> submitit.helpers.DelayedSubmission:
        """The job that submitit requeues in place of this one."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, resumed(job))


def notice_signal() -> signal.Signals:
    """The signal by which submitit announces the time limit."""
    import submitit

    return signal.Signals[f"SIG{submitit.JobEnvironment.USR_SIG}"]


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (the signature of a handler)
    sys.exit(SIGNALLED + number)


def _unless_left(train: Callable[[StackJob], StackResult], job: StackJob) -> StackResult | None:
    try:
        return train(job)
    except SystemExit:
        return None


def resumed(job: StackJob) -> StackJob:
    """The job with `train.resume=true` for every member."""
    configs = [OmegaConf.create(text) for text in job.configs]
    for one in configs:
        OmegaConf.update(one, "train.resume", True)
        OmegaConf.update(one, "train.overwrite", False)
    return replace(job, configs=tuple(OmegaConf.to_yaml(one) for one in configs))
