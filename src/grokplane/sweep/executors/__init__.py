"""Executors, which train stacks: an executor is a frozen dataclass of its options with a method `run`.

Each executor has a module of its own that is cheap to import. Its method `run` imports torch and the package that it
needs (submitit, ray). Its options are the config keys `hydra.launcher.NAME.*`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Protocol

from grokplane.options import ConfigError, one_of
from grokplane.sweep.job import StackJob, StackResult


class Executor(Protocol):
    """Trains stacks in this process or elsewhere."""

    def run(self, jobs: Sequence[StackJob]) -> Iterator[tuple[int, StackResult]]:
        """Train all stacks; yield (index in `jobs`, result) of each as it ends."""
        ...


# Executor dataclasses by name.
EXECUTORS = {
    "local": "grokplane.sweep.executors.local.Local",
    "submitit": "grokplane.sweep.executors.slurm.Slurm",
    "ray": "grokplane.sweep.executors.ray_cluster.RayCluster",
}


def executor_class(name: str) -> type:
    """The executor dataclass with this name.

    Raises:
        ConfigError: no executor has this name.
    """
    if name not in EXECUTORS:
        raise ConfigError("hydra.launcher.executor", name, one_of(name, EXECUTORS))
    module, _, attribute = EXECUTORS[name].rpartition(".")
    return getattr(importlib.import_module(module), attribute)
