"""An entry point from the command line to the exit code.

Hydra creates the run's folder before the program's function runs. So the call is composed, checked and compared with
the contents of the folder before Hydra starts. A refused call changes no byte.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from grokplane import config, plugins
from grokplane.app.errors import REFUSALS, Failed, Refused
from grokplane.app.exit_codes import DIVERGED, SIGNALLED
from grokplane.app.flags import Flags
from grokplane.app.jobs import refuse_nothing_begun, refused_for
from grokplane.app.plan import Plan, plan
from grokplane.app.plugged import named_plugins
from grokplane.app.report import report
from grokplane.app.resume import NothingLeft, nothing_left, resumed_config, tell_start
from grokplane.app.session import execute
from grokplane.app.typed import as_typed
from grokplane.app.unread import of_hydra, of_launcher, refuse_unread, said
from grokplane.options import ConfigError
from grokplane.record import FolderLock, read_summary
from grokplane.record.folder import LOG, note_failure
from grokplane.record.summary import cause
from grokplane.resources import rare_collection
from grokplane.say import say
from grokplane.waiting import BEFORE_REFUSALS, Doing

log = logging.getLogger(__name__)


def work(flags: Flags) -> int:
    """Carry out a call, except `--help`; return the exit code."""
    config.use_plugins(named_plugins(flags.overrides, flags.config_name))
    config.register_schemas()
    overrides = as_typed(flags.overrides, sweeps=flags.multirun)
    if flags.prints:
        return _print(flags, overrides)
    return _train(overrides, flags.config_name, flags.multirun)


def _print(flags: Flags, overrides: Sequence[str]) -> int:
    """Print the output of Hydra's own flags."""
    try:
        return _hydra(flags.config_name, [*flags.prints, *overrides])
    except REFUSALS:
        raise
    except ValueError as error:  # flags that exclude each other
        raise Refused(" ".join(str(error).split())) from error


def _train(overrides: Sequence[str], config_name: str, multirun: bool) -> int:
    with Doing("checking the call", BEFORE_REFUSALS), rare_collection():
        todo, over = _checked(overrides, config_name, multirun)
    jobs = todo.jobs
    if len(over) == len(jobs):
        for one in over:
            say(one.line)
        return max(one.code for one in over)
    with _made(todo.folder, "hydra.sweep.dir" if todo.multirun else "hydra.run.dir"), _held(todo):
        # Hydra would write `.hydra/` before this process holds the folder's lock, and over the config of another run.
        arguments = [*todo.overrides, "hydra.output_subdir=null"]
        if todo.multirun:
            code = _hydra(config_name, ["--multirun", *arguments])
        elif jobs[0].made.hydra.verbose and jobs[0].asked.train.branch_from is None:  # which describes the composition
            code = _hydra(config_name, arguments)
        else:
            code = _run_composed(config_name, jobs[0].made, arguments)
    # Launchers that send jobs to processes of their own (joblib) bring no codes back.
    return max([code, *(DIVERGED for job in jobs if read_summary(job.folder).get("status") == "diverged")])


def _checked(overrides: Sequence[str], config_name: str, multirun: bool) -> tuple[Plan, list[NothingLeft]]:
    """Check a call. Return its plan, and the reasons of the jobs that have nothing left to do."""
    todo = plan(overrides, config_name, multirun)
    typed = said(config.parse(overrides))
    refuse_unread(typed, [of_hydra(todo.multirun)])
    refuse_unread(typed, [of_launcher(job.made.hydra.launcher) for job in todo.jobs])
    found = []
    for job in todo.jobs:
        with refused_for(job.overrides, config_name):
            found.append(job.check(config_name))
    refuse_unread(typed, [one.unread for one in found])
    refuse_nothing_begun(found, todo.folder)
    return todo, [one.over for one in found if one.over is not None]


@contextmanager
def _made(folder: Path, key: str) -> Iterator[None]:
    """Create the folder for a block. Folders that are still empty are removed if the block is refused.

    Raises:
        ConfigError: the folder cannot be created.
    """
    missing = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(key, folder, f"cannot be made ({error.strerror})") from error
    try:
        yield
    except REFUSALS:
        with suppress(OSError):  # not empty: something was written
            for place in missing:
                place.rmdir()
        raise


@contextmanager
def _held(todo: Plan) -> Iterator[None]:
    """Lock the folder of a multirun with numbered jobs: a second multirun there would have a job 0 too.

    Raises:
        FolderBusy: another multirun holds the lock.
    """
    numbered = all(job.folder == todo.folder / str(number) for number, job in enumerate(todo.jobs))
    if not (todo.multirun and numbered):
        yield
        return
    lock = FolderLock(todo.folder, "hydra.sweep.dir")
    try:
        yield
    finally:
        lock.release()


class Jobs:
    """The function that Hydra calls for every job.

    A launcher that trains the jobs itself adds their exit codes instead of calling it.

    Attributes:
        codes: the jobs' exit codes.
        refusals: what came up since the check; Hydra would print lines of its own.
    """

    def __init__(self, config_name: str) -> None:
        self._config_name, self._process = config_name, os.getpid()
        self._plugins = plugins.names()  # which another process, started by a launcher, must import
        self.__module__ = config_name  # after which Hydra names the job
        self.codes: list[int] = []
        self.refusals: list[Exception] = []

    def __call__(self, asked: DictConfig) -> None:
        """Train one job."""
        try:
            if os.getpid() != self._process:
                config.use_plugins(self._plugins)
            self.codes.append(_job(asked, self._config_name))
        except REFUSALS as error:
            if os.getpid() != self._process:
                raise
            self.refusals.append(error)

    def code(self) -> int:
        """The highest exit code; raises the first refusal."""
        for error in self.refusals:
            raise error
        return max(self.codes, default=0)


def _hydra(config_name: str, arguments: Sequence[str]) -> int:
    """Start Hydra, which calls back for every job; return the highest exit code."""
    jobs = Jobs(config_name)
    sys.argv[1:] = arguments
    hydra.main(version_base="1.3", config_path=str(config.CONFIGS), config_name=config_name)(jobs)()
    return jobs.code()


def _run_composed(config_name: str, made: DictConfig, arguments: Sequence[str]) -> int:
    """Run a single job with the config that the check composed; `hydra.main` would compose it twice more.

    Args:
        config_name: the primary config.
        made: the job's config with Hydra's node.
        arguments: the overrides of the config; the last one turns `.hydra/` off and is not applied yet.
    """
    sys.argv[1:] = arguments
    made.hydra.output_subdir, made.hydra.mode = None, RunMode.RUN
    made.hydra.overrides.hydra.extend([arguments[-1], "hydra.mode=RUN"])  # as `hydra.main` has it
    jobs = Jobs(config_name)
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config.CONFIGS), job_name=config_name, version_base="1.3"):
        machinery = GlobalHydra.instance().hydra
        assert machinery is not None
        machinery.config_loader.load_configuration = lambda **_: made  # type: ignore[method-assign]
        machinery.run(config_name, jobs, list(arguments))
    return jobs.code()


def _job(asked: DictConfig, config_name: str) -> int:
    config.absolute_files(asked, HydraConfig.get().runtime.cwd)
    config.validate(asked)
    folder = Path(HydraConfig.get().runtime.output_dir)
    if asked.train.resume:
        typed = HydraConfig.get().overrides
        asked = resumed_config(folder, asked, [*typed.hydra, *typed.task], config_name)
        over = nothing_left(folder, asked)
        if over is not None:
            say(over.line)
            return over.code
        tell_start(folder, asked)
    try:
        outcome = execute([asked], [folder], notes=[_notes()])
    except REFUSALS:
        raise
    except Exception as error:  # whatever it is: a full disk, no memory, a module of the user's own
        log.exception("failed")  # with its traceback, into train.log too
        with suppress(OSError, ConfigError):
            told = read_summary(folder)
            if (told.get("status"), told.get("error")) != ("failed", cause(error)):  # it failed before it was recorded
                note_failure(folder, cause(error))
        more = f"; {LOG} there has more" if (folder / LOG).exists() else ""
        raise Failed(f"{folder}: {cause(error)}: the run failed{more}") from error
    for summary in outcome.summaries:
        say(report(folder, summary))
    if outcome.signal is not None and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise SystemExit(SIGNALLED + outcome.signal)  # no further job, even if this one was over already
    return outcome.exit_code


def _notes() -> dict[str, str]:
    """Return the files that Hydra writes into `.hydra/` beside `config.yaml`."""
    made: Any = HydraConfig.instance().cfg
    overrides = OmegaConf.to_yaml(made.hydra.overrides.task)
    return {"hydra.yaml": OmegaConf.to_yaml(OmegaConf.masked_copy(made, "hydra")), "overrides.yaml": overrides}
