"""The YAML files that come with grokplane: the config groups and the sweep files.

This module is part of the floor below all rooms, and light to import.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGED = Path(__file__).with_name("configs")
# A wheel holds the files within the package; a checkout has them at its top.
CONFIGS = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "configs"
SWEEPS = CONFIGS.with_name("sweeps")


def shipped_choices() -> dict[str, list[str]]:
    """Every config group (`mi/input_estimator`) with the choices that have a file."""
    folders = {file.parent.relative_to(CONFIGS).as_posix() for file in CONFIGS.rglob("*.yaml")} - {"."}
    return {group: shipped_names(group) for group in sorted(folders)}


def shipped_names(group: str) -> list[str]:
    """The choices of a config group that have a file; an empty list if the group does not exist."""
    return sorted(file.stem for file in (CONFIGS / group).glob("*.yaml")) if group else []
