"""`--help`: every key with its value and one line, by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from grokplane import config
from grokplane.options import LISTS, shown

_HEAD = """python {program} [key=value ...] [group=choice ...]

Trains the run that the config describes and leaves it under outputs/{name}/.
-m sweeps over comma-separated values; --cfg job prints the composed config; --hydra-help explains Hydra's own flags.
"""


def usage(program: str, overrides: Sequence[str], config_name: str) -> str:
    """The help text for a call with these overrides."""
    composed = config.compose(overrides, config_name)
    lines = [_HEAD.format(program=program, name=composed.name)]
    for prefix, node in config.nodes(composed):
        lines += _group(prefix.rstrip("."), node)
    lines += ["experiment, debug", *_choices("experiment"), *_choices("debug")]
    return "\n".join(lines)


def _group(group: str, node: DictConfig) -> list[str]:
    schema: Any = OmegaConf.get_type(node)
    specs = [spec for spec in fields(schema) if _is_key(spec, node)] if is_dataclass(schema) else []
    title = [group, *_choices(group)] if group and (specs or _choices(group)) else []
    prefix = f"{group}." if group else ""
    keys = [f"  {f'{prefix}{spec.name}={_value(node[spec.name])}':<44} {spec.metadata['help']}" for spec in specs]
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
        return [f"  {f'{group}={file.stem}':<44} {_first_comment(file.read_bytes().decode())}" for file in files]
    if group in LISTS:
        return [f"  {group}=[NAME,...] of {', '.join(names)}"]
    path = group.replace(".", "/")
    return [f"  {path}={' | '.join(names)}"]


def _first_comment(text: str) -> str:
    lines = (line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))
    return next((line for line in lines if not line.startswith("@package")), "")
