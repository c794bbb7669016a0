"""The keys of a choice as its YAML file in configs/ shows them: written from the schema, read back for `--help`.

This module is part of the floor below all rooms. It imports neither torch nor any room.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import yaml

from grokplane.schemas import default_of, described, has_default

COMMAND = "make configs"
_MARK = f"# Written by `{COMMAND}` from the schema. A value of this file's own goes above this line."
_EMPTY = f"# Written by `{COMMAND}`: this choice has no keys."
_ABOVE = re.compile(r"`(\w+)`(?: is set above \(default: .*?\))?: (.*)")
_WIDTH = 110
_SCHEMA = re.compile(r"^ *- (?:/?(?P<group>[\w/]+)/)?schema(?:/(?P<name>\w+)@_here_)?$", re.MULTILINE)


@dataclass(frozen=True)
class Written:
    """A YAML file of configs/.

    Attributes:
        own: the text above the written part.
        schema: the name of the schema that the file's defaults list starts from, such as `optimizer/adamw`; `` for
            the schema of a whole config; None if the file has no schema.
        values: every key of the file with its value, the file's own values first.
        helps: by key of the schema, its help and its allowed values.
    """

    own: str
    schema: str | None
    values: dict[str, Any]
    helps: dict[str, str]


def read(text: str, group: str) -> Written:
    """Read the text of a YAML file.

    Args:
        text: the text of the file.
        group: the file's config group; `` for a primary config.
    """
    own, _, rest = text.partition(_MARK)
    own = own.partition(_EMPTY)[0].rstrip() + "\n"
    values = {key: value for key, value in _load(text).items() if key != "defaults"}
    helps = dict(map(_help, filter(None, rest.strip().split("\n\n"))))
    found = _SCHEMA.search(own)
    name = None if found is None else f"{found['group'] or group}/{found['name']}" if found["name"] else ""
    return Written(own, name, values, helps)


def _load(text: str) -> dict[str, Any]:
    found = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # libyaml, where PyYAML has it, is faster
    return found if isinstance(found, dict) else {}


def _help(paragraph: str) -> tuple[str, str]:
    """A key and its help from the comment and the line that show the key."""
    lines = paragraph.strip().splitlines()
    comment = " ".join(line.removeprefix("# ") for line in lines if line.startswith("# "))
    if found := _ABOVE.fullmatch(comment):
        return found[1], found[2]
    return lines[-1].partition(":")[0], comment


def write(own: str, choice: type) -> str:
    """The text of a YAML file: its own part, and below it the keys of the schema with help and defaults.

    Args:
        own: the text above the written part, see `Written`.
        choice: the dataclass of the schema.
    """
    keys = list(_keys(choice, _load(own)))
    return f"{own}\n{_MARK}\n" + "".join(f"\n{part}" for part in keys) if keys else f"{own}\n{_EMPTY}\n"


def _keys(choice: type, own: dict[str, Any]) -> Iterator[str]:
    """Comment and line of each key; a comment alone if the key is a config group or has a value of the file's own."""
    helps = described(choice)
    for spec in (spec for spec in fields(choice) if spec.name in helps):
        text = helps[spec.name]
        default = _line(default_of(spec)) if has_default(spec) else None
        if default is not None and spec.name not in own:
            yield f"{_comment(text)}{spec.name}: {default}\n"
        elif default is None:
            yield _comment(f"`{spec.name}`: {text}")
        else:
            yield _comment(f"`{spec.name}` is set above (default: {default}): {text}")


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


def _line(value: object) -> str:
    """A value as YAML in one line. PyYAML reads `1.0e-08` as a number and `1e-08` as text."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n").strip()
