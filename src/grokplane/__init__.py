"""Grokking on the information plane: stacked training of small networks, and what happens inside them."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grokplane.app.runs import open_run as open_run

if sys.platform == "win32":  # file locks, signals and limits are those of POSIX
    raise ImportError("grokplane runs on Linux and macOS, not on Windows: use WSL there, which is a Linux")


def __getattr__(name: str) -> Any:
    """Import what this package offers at its top when it is first used: torch need not be imported before."""
    if name == "open_run":
        from grokplane.app.runs import open_run

        return open_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
