"""The YAML files in configs/ and the overrides that select them.

This module is part of the floor below all rooms. It imports neither torch nor any room.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from grokplane import plugins
from grokplane.making import group_of
from grokplane.options import DIGITS, LISTS, ConfigError, one_of
from grokplane.shipped import CONFIGS as CONFIGS
from grokplane.shipped import shipped_choices, shipped_names

HYDRA_FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.job_logging.handlers.file.filename")
ACROSS = ("experiment", "debug")  # config groups whose choices set keys of other groups
_LONG = re.compile(rf"\d(?:_?\d){{{DIGITS}}}")


def group_names(group: str) -> list[str]:
    """The choices of a config group, those of plug-ins included; an empty list if the group does not exist."""
    return sorted([*shipped_names(group), *(name for of, name, _ in plugins.choices() if of == group)])


def group_choices() -> dict[str, list[str]]:
    """Every config group (`mi/input_estimator`) with its choices."""
    return {group: group_names(group) for group in shipped_choices()}


def register_plugins() -> None:
    """Register a config GROUP/NAME for every choice of a plug-in; a YAML file of that name takes its place."""
    for group, name, choice in plugins.choices():
        parts = [{key: chosen} for key, chosen in getattr(choice, "parts", {}).items()]
        node = {"defaults": [f"/{group}/schema/{name}@_here_", *parts, "_self_"]}
        package = f"{group}.{name}" if group in LISTS else None
        ConfigStore.instance().store(group=group, name=name, node=node, package=package)


def parse(overrides: Sequence[str]) -> list[Any]:
    """Parse overrides into Hydra's override objects. `glob(*)` is resolved against the config groups.

    Raises:
        ConfigError: a number has more digits than any number of a config.
        hydra.errors.HydraException: an override cannot be parsed.
    """
    for line in overrides:
        if found := _LONG.search(line):
            raise ConfigError(line.partition("=")[0], f"{found[0][:10]}...", f"a number has at most {DIGITS} digits")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(list(overrides))


def check_groups(overrides: Sequence[str]) -> None:
    """Refuse a config group whose value is not the name of a choice, before Hydra fails on the value.

    Raises:
        ConfigError: names the group, the value and the allowed names.
    """
    for override in parse(overrides):
        place, value = override.key_or_group.replace(".", "/"), override.value()
        group = group_of(place)
        names = group_names(group)
        if group == "":
            raise ConfigError("", value, "a key must stand before the equals sign")
        if not names or override.is_delete() or override.is_sweep_override():
            continue
        if "." in override.key_or_group:
            written = group if group == place else f"{group}@{override.key_or_group}"
            raise ConfigError(override.key_or_group, value, f"written {written}=NAME; {one_of(str(value), names)}")
        if not isinstance(value, str | list):
            raise ConfigError(group, value, one_of(str(value), names))
        if isinstance(value, list) and not all(isinstance(one, str) for one in value):
            raise ConfigError(group, value, f"a list of names; allowed: {', '.join(names)}")
        if isinstance(value, list) and len(set(value)) < len(value):
            raise ConfigError(group, f"[{','.join(value)}]", "each only once")


def register_task(name_of: Callable[[str], str]) -> None:
    """Register the resolver `${task:}`: the name of the choice of `data`; `${task:own,name}` is `name` for `own`.

    Args:
        name_of: the name of the choice that a `_target_` stands for.
    """

    def task(own: str = "", name: str = "", *, _root_: DictConfig) -> str:
        choice = name_of(OmegaConf.select(_root_, "data._target_") or "")
        return name if own and choice == own else choice

    OmegaConf.register_new_resolver("task", task, replace=True)
