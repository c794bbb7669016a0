"""Configs: schemas found beside the code they configure, composed by Hydra, validated, turned into members."""

from __future__ import annotations

import importlib
import pkgutil
import types
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, field, fields, is_dataclass, make_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from grokplane import callbacks, data, losses, metrics, mi, models, optim, plugins, record, train
from grokplane.config_files import CONFIGS, HYDRA_FOLDERS, check_groups, group_names, register_plugins, register_task
from grokplane.config_files import parse as parse
from grokplane.hydra_node import composed, hydra_is, nodes, without_hydra
from grokplane.making import make
from grokplane.options import LISTS, ConfigError, check_options, listed, one_of, option
from grokplane.pasting import escaped
from grokplane.schemas import defaults_last, path, same_field, schema
from grokplane.strict_json import flatten
from grokplane.train import Member

ROOMS = (callbacks, data, losses, metrics, mi, models, optim, record, train)
# The parts of a config that make a member; the others say how it is recorded.
MEMBER_KEYS = tuple(spec.name for spec in fields(Member))


def choices() -> Iterator[tuple[str, str, type]]:
    """Every choice of every room and plug-in as (config group, name, dataclass); see `grokplane.options.listed`.

    Raises:
        ConfigError: a plug-in whose choices cannot be added.
    """
    for room in ROOMS:
        for module in _modules(room):
            yield from listed(module)
    yield from plugins.choices()


def use_plugins(names: Sequence[str]) -> None:
    """Import these modules, and add their choices to the config groups for the rest of the process.

    Raises:
        ConfigError: see `grokplane.plugins.use`.
    """
    plugins.use(names)
    for cached in (register_schemas, folder_keys, file_keys, text_keys, choice_names, targets):
        cached.cache_clear()


def _modules(room: types.ModuleType) -> Iterator[types.ModuleType]:
    for found in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


@cache
def register_schemas() -> None:
    """Put every choice's schema into Hydra's store, where the YAML files find it as GROUP/schema/NAME."""
    store = ConfigStore.instance()
    store.store(name="schema", node=root())
    for group, name, choice in choices():
        store.store(group=f"{group}/schema", name=name, node=schema(choice))
    register_plugins()


def root() -> type:
    """The typed node of a whole config."""
    groups = [*(key for key in MEMBER_KEYS if key not in ("seed", *LISTS)), "record"]
    seed = next(spec for spec in fields(Member) if spec.name == "seed")
    keys: list[tuple[str, Any, Any]] = [
        ("name", str, option("default", "names the folder under outputs/; experiments set it", folder=True)),
        ("seed", int, same_field(seed)),
        *((group, Any, option(MISSING)) for group in groups),
        *((group, dict[str, Any], field(default_factory=dict)) for group in LISTS),
        ("grokplane", plugins.Plugins, field(default_factory=plugins.Plugins)),
    ]
    return make_dataclass("Root", defaults_last(keys))


def compose(overrides: Sequence[str] = (), config_name: str = "train", with_hydra: bool = False) -> DictConfig:
    """The config that these command-line overrides make, typed and checked against every key's bounds.

    Args:
        overrides: as on the command line: `key=value`, `group=choice`.
        config_name: the entry point's file in configs/.
        with_hydra: keep Hydra's own node, `hydra`.

    Raises:
        ConfigError: a value out of bounds.
        hydra.errors.HydraException, omegaconf.errors.OmegaConfBaseException: unknown keys, wrong types.
    """
    made = _composed(overrides, config_name, RunMode.RUN)
    with hydra_is(made):
        absolute_files(made, made.hydra.runtime.cwd)
        ours = without_hydra(made)
        validate(ours)
    return made if with_hydra else ours


def compose_multirun(overrides: Sequence[str], config_name: str) -> DictConfig:
    """The config of a multirun as a whole, Hydra's own node included: what is swept is left at its default.

    Errors: see `compose`; bounds are not checked.
    """
    return _composed(overrides, config_name, RunMode.MULTIRUN)


def _composed(overrides: Sequence[str], config_name: str, mode: RunMode) -> DictConfig:
    register_schemas()
    check_groups(overrides)
    return composed(CONFIGS, config_name, overrides, mode)


def validate(config: DictConfig, prefix: str = "") -> None:
    """Check every key of a config, or of the node with that prefix, against the bounds its schema declares.

    Raises:
        ConfigError: naming the first that is wrong, or a plug-in that this call has not named.
    """
    if not prefix:
        plugins.check_named(OmegaConf.select(config, plugins.KEY) or ())
    for at, node in nodes(config, prefix):
        schema = OmegaConf.get_type(node)
        if is_dataclass(schema):
            _check_known(node, schema, at)
            check_options(_Values(node, schema), at)


def _check_known(node: DictConfig, schema: Any, prefix: str) -> None:
    """Refuse keys that only `+key=value` could put into a typed node."""
    known = [f"{prefix}{spec.name}" for spec in fields(schema) if not spec.name.startswith("_")]
    for key in node:
        if key not in ["_target_", "hydra", *(spec.name for spec in fields(schema))]:
            raise ConfigError(f"{prefix}{key}", node[key], f"unknown key; {one_of(f'{prefix}{key}', known)}")


class _Values:
    """A config node in the form that check_options reads: the schema's fields, the node's values."""

    def __init__(self, node: DictConfig, schema: Any) -> None:
        self.__dataclass_fields__ = schema.__dataclass_fields__
        for spec in fields(schema):
            value: Any = None if OmegaConf.is_missing(node, spec.name) else node[spec.name]
            setattr(self, spec.name, list(value) if OmegaConf.is_list(value) else value)


def member(config: DictConfig) -> Member:
    """The member that a composed config describes.

    Raises:
        ConfigError: values that do not go together.
    """
    values: dict[str, Any] = {key: made(key, config[key]) for key in MEMBER_KEYS if key != "seed"}
    for group in LISTS:
        for name, choice in values[group].items():
            if not is_dataclass(choice):
                allowed = f"written {group}=[NAME,...]; {one_of(name, group_names(group))}"
                raise ConfigError(f"{group}.{name}", choice, allowed)
    return Member(seed=config.seed, **values)


# Here, as processes that Hydra's launchers start import this and register nothing.
register_task(lambda target: choice_names().get(target, target))


def made(key: str, node: DictConfig) -> Any:
    """What the node of a config at this key describes: one choice, or a dict of them for a group of LISTS.

    Raises:
        ConfigError: a `_target_` that is none of the group's choices, or values that it does not take.
    """
    plain = OmegaConf.to_container(node, resolve=True)
    if key not in LISTS:
        return make(key, plain, targets(), key)
    assert isinstance(plain, dict)
    return {name: make(key, part, targets(), f"{key}.{name}") for name, part in plain.items()}


@cache
def folder_keys() -> frozenset[str]:
    """The keys that name a folder or a part of one, Hydra's own among them."""
    return frozenset([*HYDRA_FOLDERS, *_keys_of("folder")])


@cache
def file_keys() -> frozenset[str]:
    """The keys that name a file."""
    return frozenset(_keys_of("file"))


def absolute_files(config: DictConfig, started_in: str) -> None:
    """Make the paths of a config's files absolute, so that the stored config is that of any folder.

    Args:
        config: changed in place.
        started_in: the folder in which the program was started.
    """
    for key in file_keys():
        path = OmegaConf.select(config, key)
        if path is not None:
            OmegaConf.update(config, key, escaped(str(Path(started_in, path))))


@cache
def text_keys() -> frozenset[str]:
    """The keys whose value is taken as the shell passes it."""
    return folder_keys() | file_keys() | frozenset(_keys_of("text"))


def _keys_of(kind: str) -> Iterator[str]:
    """The keys whose option is of a kind that its metadata names."""
    yield from (spec.name for spec in fields(root()) if spec.metadata.get(kind))
    for group, name, choice in choices():
        prefix = f"{group.replace('/', '.')}.{name}." if group in LISTS else f"{group.replace('/', '.')}."
        yield from (f"{prefix}{spec.name}" for spec in fields(choice) if spec.metadata.get(kind))


@cache
def choice_names() -> dict[str, str]:
    """The name of every choice by its `_target_`."""
    return {path(choice): name for _, name, choice in choices()}


@cache
def targets() -> dict[tuple[str, str], type]:
    """Every choice by its group and its `_target_`."""
    return {(group, path(choice)): choice for group, _, choice in choices()}


def flat(config: Any) -> dict[str, Any]:
    """A config as one dict of dotted keys, Hydra's own node left out; lists are values."""
    if OmegaConf.is_config(config):  # Hydra's node cannot be resolved: some of its keys are missing until a job runs
        own = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
        return flat(OmegaConf.to_container(own, resolve=True))
    return flatten(config)
