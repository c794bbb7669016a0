"""Configs as Hydra composes them, and their node `hydra`, which the config of a job does not contain.

Of grokplane this module imports only the modules below all packages.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from grokplane.options import ConfigError


def composed(configs: Path, config_name: str, overrides: Sequence[str], mode: RunMode) -> DictConfig:
    """The config that Hydra composes for a job, or for a whole multirun, in which swept keys have their defaults.

    Args:
        configs: the folder of the config groups.
        config_name: file of the primary config, also the job's name, as for `python CONFIG_NAME.py`.
        overrides: as on the command line.
        mode: job or multirun.

    Raises:
        ConfigError: an input on which Hydra itself fails with another error.
        hydra.errors.HydraException, omegaconf.errors.OmegaConfBaseException: an input that they refuse.
    """
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(configs), job_name=config_name, version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        try:
            return hydra.compose_config(config_name, list(overrides), run_mode=mode, from_shell=False)
        except (AssertionError, AttributeError, LookupError, TypeError) as error:
            why = f"Hydra cannot apply it ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
            named = [line.partition("=") for line in overrides if error.args and str(error.args[0]) in line]
            key, _, value = named[0] if named else ("the call", "=", " ".join(overrides))
            raise ConfigError(key, value, why) from error


def without_hydra(made: DictConfig) -> DictConfig:
    """A copy of a config without Hydra's node, as Hydra passes it to a job."""
    ours = copy.deepcopy(made)
    with read_write(ours), open_dict(ours):
        del ours["hydra"]
    return ours


def nodes(config: DictConfig, prefix: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Every mapping of a config, outermost first, with the prefix of its keys; the node `hydra` is left out."""
    yield prefix, config
    for key in config:
        if key != "hydra" and not OmegaConf.is_missing(config, str(key)) and isinstance(config[key], DictConfig):
            yield from nodes(config[key], f"{prefix}{key}.")


@contextmanager
def hydra_is(made: DictConfig) -> Iterator[None]:
    """A block in which `${hydra:...}` refers to the node `hydra` of this config, as in a Hydra job."""
    earlier = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(made)
    try:
        yield
    finally:
        HydraConfig.instance().cfg = earlier
        OmegaConf.set_readonly(made.hydra, False)  # the state in which Hydra composed it
