"""Where stacks are trained: an executor is a frozen dataclass of its options with a `run`.

Each stands in a module of its own that is cheap to import: torch and the executor's package (submitit, ray) are
imported by `run`.
Its options are the config keys `hydra.launcher.NAME.*`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Protocol

from grokplane.options import ConfigError, one_of
from grokplane.sweep.job import StackJob, StackResult


class Executor(Protocol):
    """Trains stacks somewhere."""

    def run(self, jobs: Sequence[StackJob]) -> Iterator[tuple[int, StackResult]]:
        """Train all of the stacks; (position among `jobs`, result) of each as it ends."""
        ...


# By name: the dataclass that is the executor.
EXECUTORS = {
    "local": "grokplane.sweep.executors.local.Local",
    "submitit": "grokplane.sweep.executors.slurm.Slurm",
    "ray": "grokplane.sweep.executors.ray_cluster.RayCluster",
}


def executor_class(name: str) -> type:
    """The dataclass of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in EXECUTORS:
        raise ConfigError("hydra.launcher.executor", name, one_of(name, EXECUTORS))
    module, _, attribute = EXECUTORS[name].rpartition(".")
    return getattr(importlib.import_module(module), attribute)
