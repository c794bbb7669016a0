"""Grokking on the information plane: stacked training of small networks, and what happens inside them."""

import sys

if sys.platform == "win32":  # file locks, signals and limits are those of POSIX
    raise ImportError("grokplane runs on Linux and macOS, not on Windows: use WSL there, which is a Linux")
