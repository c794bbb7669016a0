"""An entry point from the command line to the exit code.

Hydra makes the run's folder and writes `.hydra/` before the program's function runs. So the call is composed, checked
and compared with what the folder holds before Hydra is let loose on it: a refused call changes no byte.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from grokplane import config
from grokplane.app.errors import REFUSALS, one_line
from grokplane.app.report import report
from grokplane.app.resume import is_over, resumed_config
from grokplane.app.session import execute, plain
from grokplane.app.usage import usage
from grokplane.options import ConfigError
from grokplane.record import check_folder
from grokplane.train import Stack

REFUSED = 2
SIGNALLED = 128


def main(config_name: str) -> None:
    """Run the entry point whose config is configs/CONFIG_NAME.yaml; ends the process with its exit code."""
    arguments = sys.argv[1:]
    overrides = [argument for argument in arguments if not argument.startswith("-")]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra raises in place of printing several lines
    try:
        code = _main(config_name, arguments, overrides)
    except REFUSALS as error:
        print(one_line(error, overrides, _known_keys(config_name)), file=sys.stderr)
        code = REFUSED
    except KeyboardInterrupt:  # a second Ctrl-C, which does not wait for the step
        code = SIGNALLED + signal.SIGINT
    sys.exit(code)


def _main(config_name: str, arguments: Sequence[str], overrides: Sequence[str]) -> int:
    flags = {argument for argument in arguments if argument.startswith("-")}
    if flags & {"-h", "--help"}:
        print(usage(Path(sys.argv[0]).name, overrides, config_name))
        return 0
    config.register_schemas()
    if flags - {"-m", "--multirun"}:
        return _hydra(config_name, arguments)  # --cfg, --info, ...: Hydra's own affairs
    if flags:
        for job in _jobs(overrides):
            _check(config.compose(job, config_name))
        return _hydra(config_name, arguments)
    return _single(config_name, arguments, overrides)


def _single(config_name: str, arguments: Sequence[str], overrides: Sequence[str]) -> int:
    asked = config.compose(overrides, config_name, with_hydra=True)
    folder = Path(asked.hydra.run.dir)
    if folder.exists() and not folder.is_dir():
        raise ConfigError("hydra.run.dir", folder, "must be a folder")
    check_folder(folder, overwrite=asked.train.overwrite, resume=asked.train.resume)
    if not asked.train.resume:
        _check(asked)
        return _hydra(config_name, arguments)
    merged = resumed_config(folder, asked, overrides, config_name)
    _check(merged)
    over = is_over(folder, merged)
    if over is not None:
        print(f"{folder}: {over}")
        return 0
    # Hydra would write this call's config over the run's.
    keep = ["hydra.output_subdir=null"] if (folder / ".hydra").exists() else []
    return _hydra(config_name, [*arguments, *keep])


def _check(one: DictConfig) -> None:
    """Build everything that training needs, so that what cannot be trained is refused before a folder exists."""
    Stack([config.member(one)])


def _hydra(config_name: str, arguments: Sequence[str]) -> int:
    """Hand over to Hydra, which calls back for every job; the highest exit code."""
    codes = [0]

    def job(asked: DictConfig) -> None:
        codes.append(_job(asked, config_name))
        if codes[-1] > SIGNALLED:
            raise SystemExit(codes[-1])  # no further job of a multirun

    sys.argv[1:] = arguments
    hydra.main(version_base="1.3", config_path=str(config.CONFIGS), config_name=config_name)(job)()
    return max(codes)


def _job(asked: DictConfig, config_name: str) -> int:
    config.validate(asked)
    folder = Path(HydraConfig.get().runtime.output_dir)
    if asked.train.resume:
        typed = [override for override in HydraConfig.get().overrides.task if not override.startswith("hydra.")]
        asked = resumed_config(folder, asked, typed, config_name)
        _write_config(folder, asked)
    outcome = execute([asked], [folder])
    for summary in outcome.summaries:
        print(report(folder, summary))
    return outcome.exit_code


def _write_config(folder: Path, resumed: DictConfig) -> None:
    """Keep `.hydra/config.yaml` what the run is, for readers of the folder."""
    written = folder / ".hydra" / "config.yaml"
    written.parent.mkdir(exist_ok=True)
    text = OmegaConf.to_yaml(OmegaConf.create(plain(resumed)))
    if not written.exists() or written.read_text() != text:
        written.write_text(text)


def _jobs(overrides: Sequence[str]) -> Iterator[list[str]]:
    """The overrides of each job of a multirun, as Hydra's basic sweeper makes them."""
    axes: list[list[str]] = []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if override.get_key_element().lstrip("+~").startswith("hydra"):
            continue
        if not override.is_sweep_override():
            axes.append([str(override.input_line)])
        elif override.is_discrete_sweep():
            key = override.get_key_element()
            axes.append([f"{key}={value}" for value in override.sweep_string_iterator()])
    return (list(job) for job in itertools.product(*axes))


def _known_keys(config_name: str) -> list[str]:
    try:
        composed: Any = config.compose([], config_name)
    except ConfigError:
        return []
    return [key for key in config.flat(composed) if not key.endswith("_target_")]
