"""The config of a call, composed from the YAML files alone: for `--help` and for the names of keys, without torch.

The written part of the files in configs/ (`grokplane.written`) stands in for the schemas. Types and bounds are not
checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import cache
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from grokplane import plugins
from grokplane.app.errors import REFUSALS
from grokplane.config_files import (
    CONFIGS,
    HYDRA_FOLDERS,
    check_groups,
    group_names,
    register_plugins,
    register_task,
)
from grokplane.hydra_node import composed, without_hydra
from grokplane.options import LISTS
from grokplane.schemas import PLAIN_TEXT, default_of, described, has_default
from grokplane.strict_json import flatten
from grokplane.written import read

TARGET = "_target_"


def compose_untyped(overrides: Sequence[str], config_name: str) -> DictConfig:
    """The config that overrides make, with Hydra's node; `_target_` of a choice is the choice's name.

    Errors: see `grokplane.config.compose`; values are not checked.
    """
    if not OmegaConf.has_resolver("task"):  # that of `grokplane.config` leaves a name as it is
        register_task(str)
    with _schemas_of_files():
        check_groups(overrides)
        return composed(CONFIGS, config_name, overrides, RunMode.RUN)


def helps() -> dict[str, dict[str, str]]:
    """By schema (`optimizer/adamw`; `` for the whole config) and by key: help and allowed values."""
    found = {schema: helps for schema, (_, helps) in schemas().items()}
    return found | {"grokplane": described(plugins.Plugins)}


def text_keys() -> frozenset[str]:
    """The keys whose value is plain text, such as folder names; Hydra's own among them."""
    found, endings = set[str](), tuple(f"({words}" for words in PLAIN_TEXT.values())
    for schema, keys in helps().items():
        group = schema.replace("/", ".") if schema.startswith(LISTS) else schema.rpartition("/")[0].replace("/", ".")
        found |= {
            f"{group}.{key}".lstrip(".")
            for key, text in keys.items()
            if text.removesuffix(")").removesuffix(" or null").endswith(endings)
        }
    return frozenset([*HYDRA_FOLDERS, *found])


def known_keys(config_name: str, overrides: Sequence[str] = ()) -> list[str]:
    """Every key of the config that a call without overrides has, and of the choices that its overrides name.

    A config that is refused has none.
    """
    try:
        groups = tuple(line for line in overrides if group_names(line.lstrip("+").partition("=")[0].partition("@")[0]))
    except REFUSALS:  # a plug-in that cannot be imported may be the reason
        groups = ()
    return list(dict.fromkeys([*_keys_of(config_name, ()), *_keys_of(config_name, groups)]))


@cache
def _keys_of(config_name: str, groups: Sequence[str]) -> list[str]:
    try:
        made = compose_untyped(groups, config_name)
    except REFUSALS:  # a configs/local/default.yaml may be the reason
        return []
    plain: Any = OmegaConf.to_container(without_hydra(made), resolve=False)
    return [key for key in flatten(plain) if not key.endswith(TARGET)]


def schemas() -> dict[str, tuple[dict[str, Any], dict[str, str]]]:
    """By schema: values, and help of each key; of the files, and of the choices of plug-ins."""
    found = dict(_schemas_in_files())
    values, texts = found[""]
    found[""] = {**values, "grokplane": asdict(plugins.Plugins())}, texts
    for group, name, choice in plugins.choices():
        keys = {spec.name: default_of(spec) for spec in fields(choice) if has_default(spec)}
        found[f"{group}/{name}"] = {TARGET: name, **keys}, described(choice)
    return found


@cache
def _schemas_in_files() -> dict[str, tuple[dict[str, Any], dict[str, str]]]:
    found: dict[str, tuple[dict[str, Any], dict[str, str]]] = {}
    for file in sorted(CONFIGS.rglob("*.yaml")):
        group = file.parent.relative_to(CONFIGS).as_posix().removeprefix(".")
        one = read(file.read_text(encoding="utf-8"), group)
        if one.schema is not None:
            target = {TARGET: one.schema.rpartition("/")[2]} if one.schema else {}
            values, texts = found.get(one.schema, (target, {}))
            plain = {key: value for key, value in one.values.items() if not isinstance(value, dict)}
            found[one.schema] = {**plain, **values}, {**texts, **one.helps}
    return found


@contextmanager
def _schemas_of_files() -> Iterator[None]:
    """A block in which Hydra finds the schemas of the files; the registered ones are back afterwards."""
    Plugins.instance()  # plugins register their configs once, which must outlive the block
    store = ConfigStore.instance()
    earlier, store.repo = store.repo, _copied(store.repo)
    for schema, (values, _) in schemas().items():
        group, _, name = schema.rpartition("/")
        store.store(name=name or "schema", group=f"{group}/schema" if group else None, node=values)
    register_plugins()
    try:
        yield
    finally:
        store.repo = earlier


def _copied(tree: dict[str, Any]) -> dict[str, Any]:
    return {name: _copied(node) if isinstance(node, dict) else node for name, node in tree.items()}
