"""An entry point from the command line to the exit code.

Hydra makes the run's folder and writes `.hydra/` before the program's function runs. So the call is composed, checked
and compared with what the folder holds before Hydra is let loose on it: a refused call changes no byte.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from grokplane import config
from grokplane.app.errors import REFUSALS, Failed, Refused, one_line
from grokplane.app.exit_codes import DIVERGED, FAILED, REFUSED, SIGNALLED
from grokplane.app.jobs import known_keys, refuse_unread, refused_for, single, swept
from grokplane.app.nulls import as_nulls
from grokplane.app.report import report
from grokplane.app.resume import nothing_left, resumed_config
from grokplane.app.session import execute
from grokplane.app.usage import usage
from grokplane.options import ConfigError
from grokplane.record import read_summary
from grokplane.record.folder import note_failure
from grokplane.record.summary import cause
from grokplane.say import note, open_streams, say

log = logging.getLogger(__name__)

HELP = ("-h", "--help")
MULTIRUN = ("-m", "--multirun")
# Hydra's flags that print something and train nothing.
PRINTS = ("-c", "--cfg", "-i", "--info", "--version", "--hydra-help", "-sc", "--shell-completion")


def main(config_name: str) -> None:
    """Run the entry point whose config is configs/CONFIG_NAME.yaml; ends the process with its exit code."""
    open_streams()
    sys.argv[1:] = as_nulls(sys.argv[1:])
    arguments = sys.argv[1:]
    overrides = [argument for argument in arguments if not argument.startswith("-")]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra raises in place of printing several lines
    try:
        code = _main(config_name, arguments, overrides)
    except REFUSALS as error:
        note(one_line(error, overrides, known_keys(config_name)))
        code = REFUSED
    except Failed as error:
        note(error)
        code = FAILED
    except KeyboardInterrupt:  # a second Ctrl-C, which does not wait for the step
        code = SIGNALLED + signal.SIGINT
    sys.exit(code)


def _main(config_name: str, arguments: Sequence[str], overrides: Sequence[str]) -> int:
    flags = [argument.partition("=")[0] for argument in arguments if argument.startswith("-")]
    if set(flags) & set(HELP):
        say(usage(Path(sys.argv[0]).name, overrides, config_name))
        return 0
    config.register_schemas()
    if set(flags) & set(PRINTS):
        return _hydra(config_name, arguments)
    for flag in flags:
        if flag not in MULTIRUN:
            raise Refused(f"{flag}: no such flag; allowed: {', '.join([*HELP, *MULTIRUN, *PRINTS])}")
    return _train(config_name, arguments, overrides, multirun=bool(flags))


def _train(config_name: str, arguments: Sequence[str], overrides: Sequence[str], multirun: bool) -> int:
    jobs = swept(overrides, config_name) if multirun else [single(overrides, config_name)]
    found = []
    for job in jobs:
        with refused_for(job.overrides, config_name):
            found.append(job.check(config_name))
    refuse_unread(found)
    over = [one.over for one in found if one.over is not None]
    if len(over) == len(jobs):
        for one in over:
            say(one.line)
        return max(one.code for one in over)
    if jobs[0].named:  # the name of another has the time in it, which Hydra reads anew
        _make(jobs[0].folder.parent if multirun else jobs[0].folder, "hydra.sweep.dir" if multirun else "hydra.run.dir")
    # Hydra would write `.hydra/` before anybody holds the folder's lock, also over that of another run.
    code = _hydra(config_name, [*arguments, "hydra.output_subdir=null"])
    # Launchers that send jobs to processes of their own (joblib) bring no codes back.
    return max([code, *(DIVERGED for job in jobs if read_summary(job.folder).get("status") == "diverged")])


def _make(folder: Path, key: str) -> None:
    """Make a folder; ConfigError names the key where that fails, as under /proc."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(key, folder, f"cannot be made ({error.strerror})") from error


class Jobs:
    """What Hydra calls for every job of a call.

    A launcher that trains the jobs by itself adds their exit codes in place of calling.

    Attributes:
        codes: the jobs' exit codes.
        refusals: what came up since the check; Hydra would print lines of its own.
    """

    def __init__(self, config_name: str) -> None:
        self._config_name, self._process = config_name, os.getpid()
        self.codes: list[int] = []
        self.refusals: list[Exception] = []

    def __call__(self, asked: DictConfig) -> None:
        """Train one job."""
        try:
            self.codes.append(_job(asked, self._config_name))
        except REFUSALS as error:
            if os.getpid() != self._process:
                raise
            self.refusals.append(error)


def _hydra(config_name: str, arguments: Sequence[str]) -> int:
    """Hand over to Hydra, which calls back for every job; the highest exit code."""
    jobs = Jobs(config_name)
    sys.argv[1:] = arguments
    hydra.main(version_base="1.3", config_path=str(config.CONFIGS), config_name=config_name)(jobs)()
    for error in jobs.refusals:
        raise error
    return max(jobs.codes, default=0)


def _job(asked: DictConfig, config_name: str) -> int:
    config.validate(asked)
    folder = Path(HydraConfig.get().runtime.output_dir)
    if asked.train.resume:
        asked = resumed_config(folder, asked, HydraConfig.get().overrides.task, config_name)
        over = nothing_left(folder, asked)
        if over is not None:
            say(over.line)
            return over.code
    try:
        outcome = execute([asked], [folder], notes=[_notes()])
    except REFUSALS:
        raise
    except Exception as error:  # whatever it is: a full disk, no memory, a module of the user's own
        log.exception("failed")  # with its traceback, into train.log too
        with suppress(OSError, ConfigError):
            if read_summary(folder).get("status") in (
                None,
                "running",
                "interrupted",
            ):  # it failed before it was recorded
                note_failure(folder, cause(error))
        raise Failed(f"{folder}: {cause(error)}: the run failed; train.log there has more") from error
    for summary in outcome.summaries:
        say(report(folder, summary))
    if outcome.signal is not None and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise SystemExit(SIGNALLED + outcome.signal)  # no further job, even if this one was over already
    return outcome.exit_code


def _notes() -> dict[str, str]:
    """What Hydra writes into a job's `.hydra/` beside `config.yaml`."""
    made: Any = HydraConfig.instance().cfg
    overrides = OmegaConf.to_yaml(made.hydra.overrides.task)
    return {"hydra.yaml": OmegaConf.to_yaml(OmegaConf.masked_copy(made, "hydra")), "overrides.yaml": overrides}
