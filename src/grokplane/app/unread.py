"""Refuses overrides that would have no effect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from grokplane.app.errors import Refused

# Hydra's own keys that have no effect, and the reason.
ALONE: dict[str, str] = dict.fromkeys(
    ("hydra.sweep", "hydra.launcher", "hydra.sweeper"), "this call is one run (-m, a multirun, reads it)"
)
MULTIRUN = {"hydra.run": "jobs of a multirun land under hydra.sweep.dir"}


def refuse_unread(typed: Mapping[str, str], found: Iterable[Mapping[str, str]], where: str = "") -> None:
    """Refuse the first override that no run of a call reads.

    Args:
        typed: the override by key (`mi.draws`) or group (`mi/label_estimator`), see `said`.
        found: for each run, the keys without effect and the reason. Iteration stops once every key is read by a run.
        where: prefix of the error line, such as a file name and a colon.

    Raises:
        Refused: the line names the override, the reason and the remedy.
    """
    left: Mapping[str, str] | None = None
    for unread in found:
        whys = {key: _why(key.replace("/", "."), unread) for key in (typed if left is None else left)}
        left = {key: why for key, why in whys.items() if why is not None}
        if not left:
            return
    for key, why in (left or {}).items():
        raise Refused(f"{where}{typed[key]}: would not be read, as {why}; leave it out")


def said(overrides: Sequence[Any]) -> dict[str, str]:
    """Return the typed overrides by key, from Hydra's parsed overrides; see `refuse_unread`."""
    return {one.key_or_group: str(one.input_line) for one in overrides if not one.is_delete()}


def of_hydra(multirun: bool) -> dict[str, str]:
    """Return Hydra's own keys that have no effect in a call, with the reason; see `refuse_unread`."""
    return MULTIRUN if multirun else ALONE


def of_launcher(launcher: DictConfig) -> dict[str, str]:
    """Return the launcher keys that belong to another executor than the chosen one, with the reason."""
    chosen = launcher.get("executor")
    others = [name for name in launcher if OmegaConf.is_dict(launcher[name]) and name != chosen]
    why = f"hydra.launcher.executor={chosen} trains the stacks"
    return {f"hydra.launcher.{name}": why for name in others if chosen is not None}


def _why(key: str, unread: Mapping[str, str]) -> str | None:
    """A group includes its keys: the reason for `mi.label_estimator` applies to `mi.label_estimator.k`."""
    return next((why for name, why in unread.items() if key == name or key.startswith(f"{name}.")), None)
