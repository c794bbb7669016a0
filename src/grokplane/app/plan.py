"""The jobs of a call, and the overrides with which Hydra makes exactly these jobs."""

from __future__ import annotations

import itertools
import math
import os
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from grokplane import config
from grokplane.app.branching import branch_of
from grokplane.app.composing import Composer
from grokplane.app.errors import REFUSALS, Refused
from grokplane.app.hydra_keys import check_hydra
from grokplane.app.jobs import Job, check_launcher, refused_for
from grokplane.app.swept import MOST_JOBS, values_of
from grokplane.hydra_node import hydra_is, without_hydra
from grokplane.options import ConfigError
from grokplane.pasting import quoted
from grokplane.record.folder import check_no_sweep

_NOW = re.compile(r"(?<!\\)\$\{now:[^{}]*\}")
_PASSES = 3  # so often Hydra resolves the parameters of its sweeper, from the config to the jobs
_TIMED = ("name", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")


@dataclass(frozen=True)
class Plan:
    """The work of a call.

    Attributes:
        jobs: one per run.
        overrides: what makes Hydra make these jobs.
        multirun: whether they are a multirun's.
        folder: where they land: the run's folder, or the multirun's.
    """

    jobs: Sequence[Job]
    overrides: Sequence[str]
    multirun: bool
    folder: Path


def plan(overrides: Sequence[str], config_name: str, multirun: bool) -> Plan:
    """Plan a call without writing anything.

    Args:
        overrides: as typed.
        config_name: the primary config.
        multirun: whether `--multirun` was; `hydra.mode=MULTIRUN` and a config that says so mean the same.

    Raises:
        Refused, ConfigError: what cannot be composed, or is none of the jobs that Hydra would make.
    """
    clock = _Clock(datetime.now())
    if not multirun:
        fixed = [one.input_line for one in config.parse(overrides) if not one.is_sweep_override()]
        made = _composed(fixed, config_name)
        if made.hydra.mode != RunMode.MULTIRUN:
            if len(fixed) < len(overrides):
                config.compose(overrides, config_name)  # refuses them
            return _single(overrides, made, clock, config_name)
    return _swept(overrides, config_name, clock)


def _single(overrides: Sequence[str], made: DictConfig, clock: _Clock, config_name: str) -> Plan:
    timed = clock.stopped(made, ("name", "hydra.run.dir"))
    if any(not line.startswith("hydra.") for line in timed):  # part of `override_dirname`, too
        made = _composed([*overrides, *timed], config_name)
    else:
        made.hydra.overrides.hydra.extend(timed)
    job = _job(overrides, made, None)
    check_hydra([made])
    return Plan([job], [*overrides, *timed], False, job.folder)


def _composed(overrides: Sequence[str], config_name: str) -> DictConfig:
    """The config of a single job; that of a branch is made from its run's."""
    if branch_of(config.parse(overrides)) is not None:
        return Composer(config_name).compose(overrides, with_hydra=True)
    return config.compose(overrides, config_name, with_hydra=True)


def _swept(overrides: Sequence[str], config_name: str, clock: _Clock) -> Plan:
    """Plan a multirun as Hydra's basic sweeper does."""
    master, given = _master(overrides, config_name)
    params = list(_params(master))
    typed = [str(one.input_line) for one in config.parse(overrides) if one.is_hydra_override()]
    if given is overrides:
        params += [line for line in overrides if line not in typed]
    composer = Composer(config_name)
    jobs: list[Job] = []
    timed: list[list[str]] = []
    seen = set()
    drawn = random.getstate()  # Hydra's shuffle() draws from it, and Hydra draws once more
    for number, lines in enumerate(_product(params)):
        told = [*typed, *lines]
        with refused_for(told, config_name):
            made = composer.compose(told, with_hydra=True)
            with open_dict(made):
                made.hydra.job.num = made.hydra.job.id = number
            check_launcher(made)
            timed.append(clock.stopped(made, _TIMED))
            jobs.append(_job(told, made, number))
        place = os.path.realpath(jobs[-1].folder)  # ${seed}/../x is one folder for all seeds
        if place in seen:
            raise ConfigError("hydra.sweep.subdir", made.hydra.sweep.subdir, "must give every job its own folder")
        seen.add(place)
    random.setstate(drawn)
    clock.stopped(master, _TIMED)
    same = [line for line in timed[0] if all(line in lines for lines in timed)]
    with refused_for(overrides, config_name):
        folder = Path(master.hydra.sweep.dir)
    if not jobs[0].asked.train.resume:
        check_no_sweep(folder, "hydra.sweep.dir")
    check_hydra([job.made for job in jobs])
    _check_launcher_of_branches(jobs)
    return Plan(jobs, [*given, *same], True, folder)


def _check_launcher_of_branches(jobs: Sequence[Job]) -> None:
    """Refuse branches for other launchers than the stacked one: Hydra would compose them without their runs."""
    launcher = jobs[0].made.hydra.launcher
    if "executor" not in launcher and any(job.asked.train.branch_from is not None for job in jobs):
        name = jobs[0].made.hydra.runtime.choices.get("hydra/launcher")
        raise ConfigError("hydra/launcher", name, "train.branch_from in a multirun needs hydra/launcher=stacked")


def _master(overrides: Sequence[str], config_name: str) -> tuple[DictConfig, Sequence[str]]:
    """Return the config of the multirun, with swept groups at their defaults, and the overrides that make this config.

    Hydra would refuse a call with an override that the config of the multirun does not have, such as
    `optimizer.momentum=0.5` with `optimizer=sgd,muon`. In this case the overrides become parameters of the sweeper,
    which apply to the jobs only.
    """
    try:
        return config.compose_multirun(overrides, config_name), overrides
    except REFUSALS:
        parsed = config.parse(overrides)
        if any(one.is_delete() for one in parsed):
            raise
        typed = [str(one.input_line) for one in parsed if one.is_hydra_override()]
        escaped = "\\" * (2**_PASSES - 1) + "${"
        own = [str(one.input_line).partition("=") for one in parsed if not one.is_hydra_override()]
        moved = ",".join(f"{key}:{quoted(text.replace('${', escaped))}" for key, _, text in own)
        given = [*typed, f"+hydra.sweeper={{params:{{{moved}}}}}"]
        return config.compose_multirun(given, config_name), given


def _params(master: DictConfig) -> Iterator[str]:
    """Yield the overrides that the config of a multirun adds before the typed ones."""
    node = master.hydra.sweeper.get("params")
    params: Any = {} if node is None else OmegaConf.to_container(node, resolve=True)
    for _ in range(_PASSES - 1):
        params = OmegaConf.to_container(OmegaConf.create(params), resolve=True)
    yield from (f"{key}={value}" for key, value in params.items())


def _product(overrides: Sequence[str]) -> Iterator[list[str]]:
    """Return the overrides of each job. The last value of a repeated key wins, as in Hydra's sweeper."""
    axes: dict[str, list[str]] = {}
    for override in config.parse(overrides):
        line, key = str(override.input_line), override.get_key_element()
        axes[key] = [f"{key}={value}" for value in values_of(override)] if override.is_sweep_override() else [line]
        if math.prod(map(len, axes.values())) > MOST_JOBS:
            raise Refused(f"{line}: makes more than {MOST_JOBS:,} runs; allowed: fewer values")
    return (list(job) for job in itertools.product(*axes.values()))


def _job(overrides: Sequence[str], made: DictConfig, number: int | None) -> Job:
    with hydra_is(made):
        node = made.hydra
        folder = Path(node.run.dir) if number is None else Path(node.sweep.dir, str(node.sweep.subdir))
    with read_write(made), open_dict(made.hydra.runtime):
        made.hydra.runtime.output_dir = str(folder.absolute())
    return Job(overrides, made, without_hydra(made), folder)


class _Clock:
    """Resolves `${now:...}` once per call; otherwise the check and Hydra would read different times."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def stopped(self, made: DictConfig, keys: Sequence[str]) -> list[str]:
        """Insert the time into the keys of a config that use it, and return the overrides with the same effect."""
        lines = []
        for key in keys:
            raw = _raw(made, key)
            text = _NOW.sub(self._read, raw)
            if text != raw:
                with read_write(made):
                    OmegaConf.update(made, key, text)
                lines.append(f"{key}={quoted(text)}")
        return lines

    def _read(self, found: re.Match[str]) -> str:
        OmegaConf.register_new_resolver("now", self._moment.strftime, replace=True)  # Hydra puts its own back
        try:
            return str(OmegaConf.create({"now": found[0]}).now)
        except OmegaConfBaseException:  # Hydra will say what is wrong
            return found[0]


def _raw(made: DictConfig, key: str) -> str:
    """Return the text of a key with unresolved interpolations."""
    parent, _, name = key.rpartition(".")
    node: Any = OmegaConf.select(made, parent) if parent else made
    return str(node._get_node(name)._value())
