"""The options of `hydra/launcher=stacked`, which `sweep.py` shares: the config keys `hydra.launcher.*`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from grokplane.app.usage import row
from grokplane.options import checked, option, shown
from grokplane.schemas import described, schema
from grokplane.sweep.executors import EXECUTORS, executor_class

NAME = "stacked"


@dataclass(frozen=True)
@checked
class StackOptions:
    """Options that determine how jobs form stacks, and where the stacks are trained."""

    executor: str = option("local", "where stacks are trained", choices=EXECUTORS)
    max_members: int | None = option(
        None, "most members of a stack; null: as many as half of the free memory holds", at_least=1
    )


def register(target: str) -> None:
    """Register the launcher's typed config with Hydra as `hydra/launcher=stacked`.

    Args:
        target: the launcher's class, dotted. Its arguments are the keys of StackOptions, and each executor by its name.
    """
    schemas = {name: schema(executor_class(name)) for name in EXECUTORS}
    executors: list[tuple[str, type, Any]] = [
        (name, node, field(default_factory=node)) for name, node in schemas.items()
    ]
    launcher = make_dataclass(
        "StackedLauncher", [*executors, ("_target_", str, field(default=target))], bases=(schema(StackOptions),)
    )
    ConfigStore.instance().store(group="hydra/launcher", name=NAME, node=launcher, provider="grokplane")


def launcher_keys() -> list[str]:
    """One line per launcher key with its default, for `--help`."""
    groups = {"": StackOptions} | {f"{name}.": executor_class(name) for name in EXECUTORS}
    return [
        row(f"hydra.launcher.{prefix}{spec.name}={shown(spec.default)}", described(choice)[spec.name])
        for prefix, choice in groups.items()
        for spec in fields(choice)
    ]
