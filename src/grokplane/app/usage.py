"""`--help`: every key with its value and one line, by group."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from grokplane import config
from grokplane.hydra_node import hydra_is
from grokplane.options import LISTS, shown

_COLUMN, _WIDTH = 44, 120
_HEAD = """{program} [key=value ...] [group=choice ...]

Trains the run that the config describes and leaves it under outputs/{name}/.
-m sweeps over comma-separated values; --cfg job prints the composed config; --hydra-help explains Hydra's own flags.
"""


def usage(program: str, overrides: Sequence[str], config_name: str) -> str:
    """The help text for a call with these overrides."""
    composed = config.compose(overrides, config_name, with_hydra=True)
    with hydra_is(composed):
        head = _HEAD.format(program=program, name=composed.name)
        lines = [wrapped(line, indent=0) for line in head.split("\n")]
        for prefix, node in config.nodes(composed):
            lines += _group(prefix.rstrip("."), node)
    lines += ["experiment, debug", *_choices("experiment"), *_choices("debug")]
    return "\n".join(lines)


def _group(group: str, node: DictConfig) -> list[str]:
    schema: Any = OmegaConf.get_type(node)
    specs = [spec for spec in fields(schema) if _is_key(spec, node)] if is_dataclass(schema) else []
    title = [group, *_choices(group)] if group and (specs or _choices(group)) else []
    prefix = f"{group}." if group else ""
    keys = [row(f"{prefix}{spec.name}={_value(node[spec.name])}", spec.metadata["help"]) for spec in specs]
    return [*title, *keys, ""] if title or keys else []


def _is_key(spec: Any, node: DictConfig) -> bool:
    return bool(spec.metadata.get("help")) and not isinstance(node[spec.name], DictConfig)


def _value(value: object) -> str:
    return "[" + ",".join(map(shown, value)) + "]" if OmegaConf.is_list(value) else shown(value)  # type: ignore[call-overload]


def _choices(group: str) -> list[str]:
    """The files of a config group, with the first comment line of each."""
    folder = config.CONFIGS / group.replace(".", "/")
    files = sorted(folder.glob("*.yaml")) if group else []
    names = [file.stem for file in files]
    if names in ([], ["default"]) and group != "debug":
        return []
    if group in ("experiment", "debug"):
        return [row(f"{group}={file.stem}", first_sentence(file.read_text(encoding="utf-8"))) for file in files]
    if group in LISTS:
        return [wrapped(f"  {group}=[NAME,...] of {', '.join(names)}", indent=4)]
    return [wrapped(f"  {group.replace('.', '/')}={' | '.join(names)}", indent=4)]


def row(key: str, text: str) -> str:
    """A key and what it is, side by side, in lines as wide as the terminal (COLUMNS)."""
    return wrapped(f"  {key:<{_COLUMN}} {text}", indent=_COLUMN + 3)


def wrapped(text: str, indent: int) -> str:
    """A text in lines as wide as the terminal, all but the first indented; no word is cut."""
    width = shutil.get_terminal_size((_WIDTH, 0)).columns
    indent = indent if width >= 2 * indent else 6
    # What stands in columns keeps its spaces.
    head, rest = text[:indent], text[indent:]
    lines = textwrap.wrap(rest, max(20, width - indent), break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join([head + "".join(lines[:1]), *lines[1:]])


def first_sentence(text: str) -> str:
    """The first sentence of a YAML file's comments, over as many lines as it has."""
    lines = (line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))
    comment = " ".join(line for line in lines if not line.startswith("@package"))
    return re.split(r"(?<=\.) (?=[A-Z(])", comment, maxsplit=1)[0]
