"""Folder names on the command line, and commands that name a folder.

Hydra's grammar gives commas, brackets, braces, equals signs, numbers and `null` a meaning. The value of a key that
names a folder is a plain name. Where Hydra would read something else, the value is quoted before Hydra parses it.
Hydra resolves interpolations such as `${now:%H}` inside quotes too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from grokplane.pasting import HOME, folder_override, program, quoted

# Keys for which null is no folder's name; ./null is the folder.
NULLABLE = ("train.start_from", "train.branch_from", "data.cayley")
_OVERRIDE = re.compile(r"(?P<key>\+{0,2}(?P<name>[\w.]+))=(?P<value>.*)", re.DOTALL)


def as_typed(overrides: Sequence[str], sweeps: bool = False, text_keys: Collection[str] | None = None) -> list[str]:
    """Quote the folder names that Hydra would read as something else.

    Values in Hydra's quotes, and readable values with its backslashes, stay as they are. `~` and `~/...` become the
    user's home folder, because shells do not expand them after an equals sign.

    Args:
        overrides: as the shell passed them.
        sweeps: whether commas, `choice()` and the like sweep over values, except in Hydra's own keys.
        text_keys: the keys whose value is plain text, such as folder names; None: those of
            `grokplane.config.text_keys`, which imports torch.
    """
    if text_keys is None:
        from grokplane import config

        text_keys = config.text_keys()
    return [_quoted_where_needed(line, sweeps, text_keys) for line in overrides]


def go_on(folder: Path, module: str | None = None) -> str:
    """Return the shell command that resumes the run in a folder.

    Args:
        folder: the run's folder.
        module: the class of the user's own module, which every call must name; None if the run has none.
    """
    from grokplane.models.module_factory import TARGET as MODULE

    words = [program("train"), folder_override("hydra.run.dir", folder), "train.resume=true"]
    return " ".join(words if module is None else [*words, shlex.quote(f"{MODULE}={module}")])


def _quoted_where_needed(line: str, sweeps: bool, text_keys: Collection[str]) -> str:
    found = _OVERRIDE.fullmatch(line)
    if found is None or found["name"] not in text_keys or not found["value"]:
        return line
    text = found["value"]
    if text == "null" and found["name"] in NULLABLE:
        return line
    if HOME.match(text):
        return f"{found['key']}={quoted(str(Path(text).expanduser()))}"
    read = _read(text)
    if read is not None and read.is_sweep_override():
        means_it = sweeps and not found["name"].startswith("hydra.")
    else:
        explicit = text.strip()[:1] in ("'", '"') or "\\" in text
        means_it = read is not None and isinstance(read.value(), str) and (explicit or read.value() == text)
    return line if means_it else f"{found['key']}={quoted(text)}"


def _read(text: str) -> Any:
    """Parse the value with Hydra's grammar; None if the grammar refuses it."""
    try:
        return OverridesParser.create().parse_override(f"name={text}")
    except HydraException:
        return None
