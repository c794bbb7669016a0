"""The flags of a call, wherever they stand, read by Hydra's own parser: all of Hydra's, and what becomes of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from grokplane.app.errors import Refused
from grokplane.config_files import CONFIGS, group_names
from grokplane.options import one_of
from grokplane.pasting import quoted

# Hydra's flags that print something and train nothing, with the names under which its parser keeps them.
_PRINTS = {"--hydra-help": "hydra_help", "--shell-completion": "shell_completion", "--resolve": "resolve"}
_VALUES = {"--cfg": "cfg", "--package": "package", "--info": "info"}
_REFUSED = {
    "config_path": "--config-path: the config groups are those of configs/; --config-dir=FOLDER adds a folder of yours",
    "experimental_rerun": "--experimental-rerun: reads a pickle, which may run anything; "
    "train.resume=true hydra.run.dir=FOLDER goes on with a run",
}


@dataclass(frozen=True)
class Flags:
    """A call.

    Attributes:
        overrides: what is no flag, in its order.
        config_name: the primary config's file in configs/.
        help: whether it asks for `--help`.
        multirun: whether it has `--multirun`.
        prints: Hydra's flags that print something, for Hydra; empty for a call that trains.
    """

    overrides: list[str]
    config_name: str
    help: bool
    multirun: bool
    prints: list[str]


def read_flags(arguments: Sequence[str], config_name: str) -> Flags:
    """The call that these arguments make; `--version` prints it and ends the process, as with Hydra.

    Args:
        arguments: what follows the program's name.
        config_name: the program's own primary config.

    Raises:
        Refused: flags that Hydra does not know, and those that mean nothing here.
    """
    parser = get_args_parser()
    parser.error = _refuse
    found, unknown = parser.parse_known_intermixed_args(list(arguments))
    if unknown:
        known = [flag for action in parser._actions for flag in action.option_strings]
        raise Refused(f"{unknown[0].partition('=')[0]}: no such flag; allowed: {', '.join(known)}")
    for name, why in _REFUSED.items():
        if getattr(found, name) is not None:
            raise Refused(why)
    prints = [flag for flag, name in _PRINTS.items() if getattr(found, name)]
    prints += [f"{flag}={getattr(found, name)}" for flag, name in _VALUES.items() if getattr(found, name) is not None]
    if prints:
        prints += [flag for flag in ("--run", "--multirun") if getattr(found, flag.strip("-"))]
    elif found.run and found.multirun:
        raise Refused("--run, --multirun: exclude each other")
    overrides = [*found.overrides, *_search(found.config_dir, found.overrides)]
    return Flags(
        overrides, _primary(found.config_name, config_name, found.config_dir), found.help, found.multirun, prints
    )


def _refuse(message: str) -> NoReturn:
    raise Refused(message)


def _primary(asked: str | None, own: str, folder: str | None) -> str:
    """The primary config: the program's own, another file of configs/, or a file of the folder of `--config-dir`."""
    name = own if asked is None else asked.removesuffix(".yaml")
    files = {file.stem: file for file in Path(folder or CONFIGS).glob("*.yaml")}
    names = sorted({*group_names("."), *files})
    if name not in names:
        raise Refused(f"--config-name={name}: {one_of(name, names)}")
    if name not in group_names("."):  # Hydra looks for primary configs in configs/ and in the store
        ConfigStore.instance().store(name=name, node=OmegaConf.load(files[name]))
    return name


def _search(folder: str | None, overrides: Sequence[str]) -> list[str]:
    """`--config-dir` as the override that means the same wherever a config is composed."""
    if folder is None:
        return []
    if any(line.lstrip("+").startswith("hydra.searchpath=") for line in overrides):
        raise Refused(f"--config-dir={folder}: beside hydra.searchpath=[...]; name the folder there, as file://FOLDER")
    if not Path(folder).is_dir():
        raise Refused(f"--config-dir={folder}: no such folder")
    return [f"hydra.searchpath=[{quoted(f'file://{Path(folder).absolute()}')}]"]
