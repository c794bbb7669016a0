"""The launcher plugin. Hydra imports this module for every call, so torch is imported only when jobs are launched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from grokplane.sweep.options import StackOptions, register

if TYPE_CHECKING:
    from grokplane.sweep.executors import Executor
    from grokplane.sweep.multirun import Multirun


class StackedLauncher(Launcher):
    """Trains the jobs of a multirun as stacks."""

    def __init__(self, executor: str, max_members: int | None, **executors: Executor) -> None:
        self._options, self._executors = StackOptions(executor, max_members), executors
        self._multirun: Multirun | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Prepare the launch; Hydra calls this function first."""
        from grokplane.sweep.multirun import Multirun

        self._multirun = Multirun(hydra_context, task_function, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Train the jobs with these overrides; what became of each, in their order."""
        assert self._multirun is not None
        executor = self._executors[self._options.executor]
        return self._multirun.launch(job_overrides, initial_job_idx, executor, self._options.max_members)


register(f"{StackedLauncher.__module__}.{StackedLauncher.__qualname__}")
