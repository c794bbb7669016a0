"""Which code a run was made by: the git commit of grokplane's own source, and whether something there was changed."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# Files that git does not know count as changes where they may be code or configs: beside the package, and these.
BESIDE = ("src/", "configs/")
SECONDS = 2.0  # for an answer of git's, which takes some hundredths


@functools.cache
def code(package: Path = PACKAGE) -> dict[str, str | bool | None]:
    """`commit`, and whether the tree was `clean`; None of a package that does not lie in a git repository of its own.

    Asked once in a process. A repository that merely contains an environment in which grokplane is installed is
    another's, and so is that of a module of the user's own.
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
    """What git prints; None where it is not installed, fails or gives no answer."""
    # Variables such as GIT_DIR, which hooks set, would name another repository.
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
