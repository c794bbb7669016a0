"""Folder names on the command line: any name as a shell passes it, and lines to paste that name one.

Hydra's grammar reads commas, brackets, braces, equals signs, numbers and `null` in a value as something of its own.
What is typed for a key that names a folder is a name first: where Hydra would read another text, it is put into
Hydra's quotes before Hydra sees it. Interpolations (`${now:%H}`) are resolved in quotes too.
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

_OVERRIDE = re.compile(r"(?P<key>\+{0,2}(?P<name>[\w.]+))=(?P<value>.*)", re.DOTALL)


def as_typed(overrides: Sequence[str], sweeps: bool = False, folder_keys: Collection[str] | None = None) -> list[str]:
    """The overrides, with Hydra's quotes around folder names that it would read as something else.

    What stands in Hydra's quotes already, or uses its backslashes and can be read, is left as it is. `~` and `~/...`
    are the user's home, which no shell puts in behind an equals sign.

    Args:
        overrides: as the shell passed them.
        sweeps: commas, `choice()` and the like in a key that is not Hydra's own are values to sweep over.
        folder_keys: the keys that name folders; None: `grokplane.config.folder_keys`, which imports torch.
    """
    if folder_keys is None:
        from grokplane import config

        folder_keys = config.folder_keys()
    return [_quoted_where_needed(line, sweeps, folder_keys) for line in overrides]


def go_on(folder: Path, module: str | None = None) -> str:
    """The command that goes on with the run in a folder, to be pasted into a shell.

    Args:
        folder: the run's.
        module: the class of the run's own module, which every call must name; None where it has none.
    """
    from grokplane.models.module_factory import TARGET as MODULE

    words = [program("train"), folder_override("hydra.run.dir", folder), "train.resume=true"]
    return " ".join(words if module is None else [*words, shlex.quote(f"{MODULE}={module}")])


def _quoted_where_needed(line: str, sweeps: bool, folder_keys: Collection[str]) -> str:
    found = _OVERRIDE.fullmatch(line)
    if found is None or found["name"] not in folder_keys or not found["value"]:
        return line
    text = found["value"]
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
    """The value as Hydra's own object; None where its grammar has no place for it."""
    try:
        return OverridesParser.create().parse_override(f"name={text}")
    except HydraException:
        return None
