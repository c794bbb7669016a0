"""The jobs of a Hydra multirun, trained as stacks: the same results as the basic launcher, in less time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, env_override, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from grokplane import config
from grokplane.app.composing import Composer
from grokplane.app.entry import Jobs
from grokplane.app.errors import Failed
from grokplane.app.exit_codes import FAILED, SIGNALLED
from grokplane.app.report import report, shortened
from grokplane.app.resume import forget_saved, nothing_left, resumed_config, saved, tell_start
from grokplane.hydra_node import hydra_is, without_hydra
from grokplane.say import note, say
from grokplane.sweep.executors import Executor
from grokplane.sweep.plan import Remaining, described, stacks
from grokplane.waiting import Doing


@dataclass(frozen=True)
class _Launched:
    """A job as Hydra composed it.

    Attributes:
        config: the config with Hydra's node.
        asked: the config without Hydra's node.
        folder: the job's folder.
    """

    config: DictConfig
    asked: DictConfig
    folder: Path


class Multirun:
    """One multirun.

    Args:
        context: Hydra's loader and callbacks.
        function: the function that Hydra calls for every job; `grokplane.app.entry.Jobs` receives the exit codes.
        master: the config of the multirun.
    """

    def __init__(self, context: HydraContext, function: TaskFunction, master: DictConfig) -> None:
        self._context, self._function, self._master = context, function, master
        _compose_faster(context.config_loader, master)
        self._codes = function.codes if isinstance(function, Jobs) else []

    def launch(
        self, overrides: Sequence[Sequence[str]], first: int, executor: Executor, max_members: int | None
    ) -> list[JobReturn]:
        """Train the jobs; return their results in order.

        Args:
            overrides: the overrides of each job.
            first: number of the first job.
            executor: trains the stacks.
            max_members: most members of a stack; None: by memory.

        Raises:
            SystemExit: a signal stopped the multirun; everything can be resumed.
        """
        setup_globals()
        configure_log(self._master.hydra.hydra_logging, self._master.hydra.verbose)
        note(f"folder       {shortened(Path(str(self._master.hydra.sweep.dir)).absolute())}")
        with Doing("composing the jobs"):
            jobs = [self._load(number, list(one)) for number, one in enumerate(overrides, first)]
        tasks = {number: task for number, job in enumerate(jobs) if (task := self._task(job)) is not None}
        with env_override(jobs[0].config.hydra.job.env_set):  # equal for all jobs: see `grokplane.app.hydra_keys`
            outcomes = self._train(tasks, executor, max_members)
        returns = [self._returned(job, outcomes.get(number)) for number, job in enumerate(jobs)]
        if max(self._codes, default=0) >= SIGNALLED:
            raise SystemExit(max(self._codes))
        return returns

    def _load(self, number: int, overrides: list[str]) -> _Launched:
        """A job's config and folder, as Hydra's `run_job` determines them."""
        made = self._context.config_loader.load_sweep_config(self._master, overrides)
        with open_dict(made):
            made.hydra.job.id = made.hydra.job.num = number
        with hydra_is(made):
            folder = Path(str(made.hydra.sweep.dir), str(made.hydra.sweep.subdir)).absolute()
        with read_write(made.hydra.runtime), open_dict(made.hydra.runtime):
            made.hydra.runtime.output_dir = str(folder)
        return _Launched(made, without_hydra(made), folder)

    def _task(self, job: _Launched) -> Remaining | None:
        """The remaining work of a job; None, after printing the reason, if there is none."""
        with hydra_is(job.config):
            self._context.callbacks.on_job_start(config=job.config, task_function=self._function)
        config.validate(job.asked)
        notes = {"hydra.yaml": OmegaConf.to_yaml(OmegaConf.masked_copy(job.config, "hydra"))}
        notes["overrides.yaml"] = OmegaConf.to_yaml(job.config.hydra.overrides.task)
        if not job.asked.train.resume:
            return Remaining(job.asked, job.folder, -1, notes)
        typed = OmegaConf.to_container(job.config.hydra.overrides.task)
        assert isinstance(typed, list)
        merged = resumed_config(job.folder, job.asked, typed, job.config.hydra.job.config_name)
        over = nothing_left(job.folder, merged)
        last = saved(job.folder)
        forget_saved()
        if over is not None:
            say(over.line)
            self._codes.append(over.code)
            return None
        if last is None:
            tell_start(job.folder, merged)
        return Remaining(merged, job.folder, -1 if last is None else last.step, notes)

    def _train(
        self, tasks: Mapping[int, Remaining], executor: Executor, max_members: int | None
    ) -> dict[int, _Outcome]:
        """Train the jobs that have remaining work; return their outcomes by job number."""
        numbers = {id(task): number for number, task in tasks.items()}
        with Doing("measuring what the jobs take"):
            planned = stacks(list(tasks.values()), max_members)
        jobs = [stack.job(f"stack {place} of {len(planned)}") for place, stack in enumerate(planned, 1)]
        outcomes: dict[int, _Outcome] = {}
        for place, stack in enumerate(planned, 1):
            note(f"stack {place} of {len(planned)}: {described(stack)}")
        for position, result in executor.run(jobs):
            self._codes.append(result.exit_code if result.exit_code != FAILED else 0)  # Hydra raises failures
            parts = zip(planned[position].tasks, result.summaries, result.errors, strict=True)
            for task, summary, error in parts:
                outcomes[numbers[id(task)]] = summary, error
        return outcomes

    def _returned(self, job: _Launched, outcome: _Outcome | None) -> JobReturn:
        """Print the job's report, and return its result in Hydra's form."""
        typed = OmegaConf.to_container(job.config.hydra.overrides.task)
        assert isinstance(typed, list)
        told = JobReturn(typed, job.asked, job.config, os.getcwd(), JobRuntime.instance().get("name"))
        summary, error = outcome or (None, None)
        told.status = JobStatus.COMPLETED if error is None else JobStatus.FAILED
        told.return_value = None if error is None else Failed(f"{job.folder}: {error}")
        if summary is not None and error is None:
            say(report(job.folder, summary))
        with hydra_is(job.config):
            self._context.callbacks.on_job_end(config=job.config, job_return=told)
        return told


def _compose_faster(loader: ConfigLoader, master: DictConfig) -> None:
    """Let a loader compose jobs as `Composer` does: Hydra's sweeper and `Multirun` each compose every job once."""
    load = loader.load_sweep_config
    parse = OverridesParser.create(loader).parse_overrides
    composer = Composer(str(master.hydra.job.config_name), lambda lines: load(master, list(lines)), parse)

    def load_sweep_config(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:  # noqa: ARG001 (Hydra's)
        return composer.job(sweep_overrides)

    loader.load_sweep_config = load_sweep_config  # pyright: ignore[reportAttributeAccessIssue]


_Outcome = tuple[Mapping[str, Any] | None, str | None]
