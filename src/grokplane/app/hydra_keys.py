"""Checks of Hydra's own keys before anything is written; docs/hydra.md has the whole list."""

from __future__ import annotations

import os
from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from grokplane import config
from grokplane.options import ConfigError, shown

_BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
_PICKLES = "hydra.experimental.callbacks.PickleJobInfoCallback"
_STACKED = "the stacked launcher trains many jobs in one process"


def check_hydra(made: Sequence[DictConfig]) -> None:
    """Refuse Hydra keys that would have no effect, or would fail only after Hydra has created folders.

    Args:
        made: the configs of all jobs of a call, with Hydra's node.

    Raises:
        ConfigError: naming the key.
    """
    for one in made:
        _check_job(one)
    node = made[0].hydra
    if "executor" in node.launcher:
        _check_stacked([one.hydra for one in made])


def _check_job(one: DictConfig) -> None:
    node = one.hydra
    if node.output_subdir != ".hydra":
        why = "a run's config lies in .hydra/, where going on, reading and sweeps look for it; leave it out"
        raise ConfigError("hydra.output_subdir", node.output_subdir, why)
    if node.sweeper._target_ != _BASIC:
        raise ConfigError("hydra/sweeper", node.sweeper._target_, "allowed: basic, whose jobs are known beforehand")
    for name, callback in node.callbacks.items():
        if callback and callback.get("_target_") == _PICKLES:
            why = "a pickle of a run is not kept; hydra.run.dir=FOLDER train.resume=true goes on with one"
            raise ConfigError(f"hydra.callbacks.{name}", _PICKLES, why)
    if node.job.chdir:
        _refuse_relative(one)


def _refuse_relative(one: DictConfig) -> None:
    """Refuse relative folders: the job would resolve them against its own folder, the check did not."""
    for key in config.folder_keys():
        folder = OmegaConf.select(one, key) if not key.startswith("hydra.") and key != "name" else None
        if folder is not None and not os.path.isabs(folder):
            why = "relative to the job's folder under hydra.job.chdir=true; allowed: an absolute path"
            raise ConfigError(key, folder, why)


def _check_stacked(nodes: Sequence[DictConfig]) -> None:
    first = nodes[0]
    if first.job.chdir:
        raise ConfigError("hydra.job.chdir", True, f"{_STACKED}; leave it out")
    if any(node.job.env_set != first.job.env_set for node in nodes):
        raise ConfigError("hydra.job.env_set", shown(str(first.job.env_set)), f"{_STACKED}: the same for all jobs")
    for line in first.overrides.hydra:
        if line.lstrip("+~").startswith(("hydra/job_logging", "hydra.job_logging")):
            key, _, value = line.partition("=")
            raise ConfigError(key, value, "the stacked launcher writes each job's train.log by itself; leave it out")
