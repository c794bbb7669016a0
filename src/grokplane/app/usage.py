"""`--help`: every key of a call's config with its value, its help and its allowed values, by group."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from grokplane import plugins
from grokplane.app.untyped import TARGET, compose_untyped, helps
from grokplane.config_files import ACROSS, CONFIGS, group_names
from grokplane.hydra_node import hydra_is, nodes
from grokplane.making import group_of
from grokplane.options import LISTS, shown

_COLUMN, _WIDTH = 44, 120
_HEAD = """{program} [key=value ...] [group=choice ...]

Trains the run that the config describes and leaves it under outputs/{name}/.
-m sweeps over comma-separated values; --cfg job prints the composed config; --hydra-help explains Hydra's own flags.
"""


def usage(program: str, overrides: Sequence[str], config_name: str) -> str:
    """The help text for a call with these overrides; imports no torch. Values are not checked.

    Raises:
        ConfigError, hydra.errors.HydraException, omegaconf.errors.OmegaConfBaseException: see `compose_untyped`.
    """
    composed = compose_untyped(overrides, config_name)
    chosen = composed.hydra.runtime.choices
    with hydra_is(composed):
        head = _HEAD.format(program=program, name=composed.name)
        lines = [wrapped(line, indent=0) for line in head.split("\n")]
        for prefix, node in nodes(composed):
            lines += _group(prefix.rstrip("."), node, chosen)
    for group in ACROSS:
        title = f"{group} (chosen: {chosen[group]})" if chosen[group] else group
        lines += [title, *(row(f"{group}={name}", _description(group, name)) for name in group_names(group)), ""]
    return "\n".join(lines[:-1])


def _group(group: str, node: DictConfig, chosen: Mapping[str, Any]) -> list[str]:
    place = group.replace(".", "/")
    schema = place if place.startswith((*LISTS, "grokplane")) or not place else f"{group_of(place)}/{node.get(TARGET)}"
    texts = helps().get(schema, {})
    keys = [key for key in texts if key in node and not isinstance(node[key], DictConfig)]
    title = [group, *_choices(place, node, chosen)] if group else []
    prefix = f"{group}." if group else ""
    rows = [row(f"{prefix}{key}={_value(node[key])}", texts[key]) for key in keys]
    return [*title, *rows, ""] if rows or len(title) > 1 else []


def _value(value: object) -> str:
    return "[" + ",".join(map(shown, value)) + "]" if OmegaConf.is_list(value) else shown(value)  # type: ignore[call-overload]


def _choices(group: str, node: DictConfig, chosen: Mapping[str, Any]) -> list[str]:
    """The choice of a config group that is in force, what it is, and the others."""
    place, group = group, group_of(group)
    names = group_names(group)
    if names in ([], ["default"]):
        return []
    if place != group:
        group = f"{group}@{place.replace('/', '.')}"
    if group in LISTS:
        taken, others = ", ".join(map(str, node)) or "none", ", ".join(name for name in names if name not in node)
        return [row(f"{group}=[NAME,...]", f"chosen: {taken}; others: {others}.")]
    others = ", ".join(name for name in names if name != chosen[group])
    about = _description(group.partition("@")[0], chosen[group])
    return [row(f"{group}={chosen[group]}", f"{about} Others: {others}.".strip())]


def _description(group: str, name: str) -> str:
    """The comment at the head of a choice's YAML file; without such a file, the first line of a plug-in's docstring."""
    file = CONFIGS / group / f"{name}.yaml"
    if not file.is_file():
        docs = [choice.__doc__ for *at, choice in plugins.choices() if at == [group, name]]
        return (docs[0] or "").strip().partition("\n")[0] if docs else ""
    lines = file.read_text(encoding="utf-8").splitlines()
    head = lines[: next((number for number, line in enumerate(lines) if not line.startswith("# ")), len(lines))]
    return " ".join(line.removeprefix("# ") for line in head if not line.startswith("# @package"))


def row(key: str, text: str) -> str:
    """A key and its description side by side, in lines as wide as the terminal (COLUMNS)."""
    return wrapped(f"  {key:<{_COLUMN}} {text}", indent=_COLUMN + 3)


def wrapped(text: str, indent: int) -> str:
    """A text in lines as wide as the terminal; all lines but the first are indented; no word is cut."""
    width = shutil.get_terminal_size((_WIDTH, 0)).columns
    indent = indent if width >= 2 * indent else 6
    # The first `indent` characters are columns, whose spaces are kept.
    head, rest = text[:indent], text[indent:]
    lines = textwrap.wrap(rest, max(20, width - indent), break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join([head + "".join(lines[:1]), *lines[1:]])
