"""The code that made a run: the git commit of grokplane's source, and whether the source was modified."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# Untracked files count as changes if they may be code or configs: files in the package's folder, and these.
BESIDE = ("src/", "configs/")
SECONDS = 2.0  # time limit for git, which takes some hundredths of a second


@functools.cache
def code(package: Path = PACKAGE) -> dict[str, str | bool | None]:
    """`commit`, and whether the tree was `clean`; None for a package outside a git repository of its own.

    The result is cached for the process. A repository that merely contains the environment in which grokplane is
    installed is not grokplane's own, and neither is the repository of a user's module.
    """
    unknown: dict[str, str | bool | None] = {"commit": None, "clean": None}
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return unknown
    from_root = ("-c", "status.relativePaths=false")
    told = _git(package, *from_root, "status", "--porcelain=v2", "--branch", "--untracked-files=normal")
    lines = (told or "").splitlines()
    commits = [line.rpartition(" ")[2] for line in lines if line.startswith("# branch.oid ")]
    if not commits or commits[0] == "(initial)":
        return unknown
    return {"commit": commits[0], "clean": not any(map(_is_change, lines))}


def _is_change(line: str) -> bool:
    if line.startswith("? "):
        return line[2:].strip('"').startswith(BESIDE)
    return not line.startswith("#")


def _git(folder: Path, *arguments: str) -> str | None:
    """The output of git; None if git is not installed, fails or does not answer."""
    # Variables such as GIT_DIR, which hooks set, would select another repository.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            env=kept | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")
