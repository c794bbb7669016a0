"""Imports between rooms run one way, as docs/architecture.md draws them, and no files import each other in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import grokplane

SOURCE = Path(grokplane.__file__).parent
FLOOR = ("options", "derivatives", "making", "random", "resources", "processes", "files", "say", "strict_json")
FLOOR += ("plugins", "shipped", "pasting", "hydra_node", "unread", "waiting", "schemas", "config_files", "written")
FLOOR += ("process_settings", "answers", "phases", "operand_group", "ends")
# What each room may import beside the floor and itself.
MAY = {
    "callbacks": set[str](),
    "data": set[str](),
    "models": set[str](),
    "losses": set[str](),
    "optim": set[str](),
    "mi": set[str](),
    "plot": set[str](),
    "record": set[str](),
    "mechanism": set[str](),
    "metrics": {"mi", "mechanism"},
    "train": {"callbacks", "data", "models", "losses", "optim", "metrics"},
    "config": {"callbacks", "data", "models", "losses", "optim", "mi", "metrics", "train", "record"},
}


MODULES = {
    ".".join(["grokplane", *file.relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__"): file
    for file in sorted(SOURCE.rglob("*.py"))
}


def imported(file: Path) -> Iterator[str]:
    """The names of grokplane that a file imports, in functions and for types alone too."""
    for node in ast.walk(ast.parse(file.read_text())):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name for name in names if name.startswith("grokplane."))


def graph(modules: Mapping[str, Path]) -> dict[str, set[str]]:
    """The modules that each module imports. `from package import name` imports `package/__init__.py`."""
    edges = {}
    for module, file in modules.items():
        edges[module] = {name if name in modules else name.rpartition(".")[0] for name in imported(file)} - {module}
    return edges


def circles(edges: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """The sets of modules that import each other, directly or through others."""

    def reached(start: str) -> set[str]:
        seen, left = set[str](), [start]
        while left:
            new = edges.get(left.pop(), set()) - seen
            seen |= new
            left += new
        return seen

    reach = {module: reached(module) for module in edges}
    return {frozenset(o for o in reach[module] if module in reach.get(o, ())) for module in edges} - {frozenset()}


def files(room: str) -> list[Path]:
    """The files of a room, which may be one."""
    return sorted((SOURCE / room).rglob("*.py")) or [SOURCE / f"{room}.py"]


@pytest.mark.parametrize("room", [*MAY, *FLOOR])
def test_arrows_run_one_way(room: str) -> None:
    found = {name.split(".")[1] for file in files(room) for name in imported(file)} - {room}
    assert found <= {*MAY.get(room, ()), *FLOOR}


def test_no_circle_of_files() -> None:
    assert circles(graph(MODULES)) == set()


def test_a_circle_is_found(tmp_path: Path) -> None:
    texts = {
        "a": "from grokplane.b import f",
        "b": "if TYPE_CHECKING:\n    from grokplane.c import C",
        "c": "def g():\n    from grokplane.a import f",
        "d": "from grokplane import a",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    modules = {f"grokplane.{name}": tmp_path / f"{name}.py" for name in texts}
    assert circles(graph(modules)) == {frozenset({"grokplane.a", "grokplane.b", "grokplane.c"})}
