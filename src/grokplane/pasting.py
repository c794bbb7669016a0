"""Quoting of command-line arguments, so that a printed command can be pasted into a shell.

This module imports nothing of grokplane.
"""

from __future__ import annotations

import re
import shlex
import sys

HOME = re.compile(r"~(?=/|\Z)")
_QUOTE = re.compile(r"(\\*)'")
_TAIL = re.compile(r"(\\+)\Z")
# The programs that are no module `grokplane.NAME`.
_SCRIPTS = {
    "train": "train.py",
    "train-mnist": "train_mnist.py",
    "sweep": "sweep.py",
    "branch": "branch.py",
    "sync": "-m grokplane.record.sync",
    "marks": "-m grokplane.record.marked",
}
_INTERPOLATION = re.compile(r"(\\*)\$\{")


def program(name: str) -> str:
    """How a shell starts one of grokplane's programs, in the way in which the present one was started.

    Args:
        name: the subcommand of `grokplane`: "train", "predict".

    Returns:
        `grokplane train` after `grokplane ...`, else `python train.py`.
    """
    if sys.argv[0].startswith("grokplane "):
        return f"grokplane {name}"
    return f"python {_SCRIPTS.get(name, f'-m grokplane.{name}')}"


def folder_override(key: str, folder: object) -> str:
    """The argument `key=FOLDER`, quoted for Hydra where necessary, and for the shell.

    Args:
        key: one of `grokplane.config.folder_keys`, which accept any name, except for special cases.
        folder: a path.
    """
    text = str(folder)
    if HOME.match(text) or text == "???":  # the user's home, and OmegaConf's mark of a missing value
        text = f"./{text}"
    if "\\" in text or "${" in text or text[:1] in ("'", '"'):
        text = quoted(escaped(text))
    return shlex.quote(f"{key}={text}")


def escaped(text: str) -> str:
    """The text as a value of OmegaConf that holds no interpolation."""
    return _INTERPOLATION.sub(r"\1\1\\${", text)


def quoted(text: str) -> str:
    """The text in quotes of Hydra's grammar."""
    inside = _TAIL.sub(r"\1\1", _QUOTE.sub(r"\1\1\\'", text))
    return f"'{inside}'"
