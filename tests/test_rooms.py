"""Arrows between the rooms run one way, as docs/architecture.md draws them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import grokplane

SOURCE = Path(grokplane.__file__).parent
FLOOR = ("options", "derivatives", "making", "random", "resources", "processes", "files", "say", "strict_json")
FLOOR += ("pasting", "hydra_node", "unread", "waiting", "answers")
# What each room may import beside the floor and itself.
MAY = {
    "data": set[str](),
    "models": set[str](),
    "losses": set[str](),
    "optim": set[str](),
    "mi": set[str](),
    "plot": set[str](),
    "record": set[str](),
    "metrics": {"mi"},
    "train": {"data", "models", "losses", "optim", "metrics"},
    "config": {"data", "models", "losses", "optim", "mi", "metrics", "train", "record"},
}


def imported(file: Path) -> Iterator[str]:
    """The rooms that a file imports, for types alone too."""
    for node in ast.walk(ast.parse(file.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom) and node.module == "grokplane":
            names = [f"grokplane.{alias.name}" for alias in node.names]
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("grokplane."))


def files(room: str) -> list[Path]:
    """The files of a room, which may be one."""
    return sorted((SOURCE / room).rglob("*.py")) or [SOURCE / f"{room}.py"]


@pytest.mark.parametrize("room", [*MAY, *FLOOR])
def test_arrows_run_one_way(room: str) -> None:
    found = {other for file in files(room) for other in imported(file)} - {room}
    assert found <= {*MAY.get(room, ()), *FLOOR}
