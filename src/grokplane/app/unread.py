"""What was typed and would not be read: refused, since whoever typed it expects something of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from grokplane.app.errors import Refused

# Keys of Hydra's own that mean nothing, and why.
ALONE: dict[str, str] = dict.fromkeys(
    ("hydra.sweep", "hydra.launcher", "hydra.sweeper"), "this call is one run (-m, a multirun, reads it)"
)
MULTIRUN = {"hydra.run": "jobs of a multirun land under hydra.sweep.dir"}


def refuse_unread(typed: Mapping[str, str], found: Iterable[Mapping[str, str]], where: str = "") -> None:
    """Refuse the first key that no run of a call would read.

    Args:
        typed: by key (`mi.draws`) or group (`mi/label_estimator`) what was typed of it, see `said`.
        found: of each run the keys that mean nothing for it, and why; asked only as long as a key may be read by none.
        where: what the line begins with, such as a file's name and a colon.

    Raises:
        Refused: naming what was typed, why it is not read, and the remedy.
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
    """By key what was typed of it, of overrides as Hydra's own objects; see `refuse_unread`."""
    return {one.key_or_group: str(one.input_line) for one in overrides if not one.is_delete()}


def of_hydra(multirun: bool) -> dict[str, str]:
    """Hydra's own keys that mean nothing in a call, and why; see `refuse_unread`."""
    return MULTIRUN if multirun else ALONE


def of_launcher(launcher: DictConfig) -> dict[str, str]:
    """Keys of a launcher of ours that belong to another executor than the chosen one, and why."""
    chosen = launcher.get("executor")
    others = [name for name in launcher if OmegaConf.is_dict(launcher[name]) and name != chosen]
    why = f"hydra.launcher.executor={chosen} trains the stacks"
    return {f"hydra.launcher.{name}": why for name in others if chosen is not None}


def _why(key: str, unread: Mapping[str, str]) -> str | None:
    """A group stands for its keys: what is said of `mi.label_estimator` holds for `mi.label_estimator.k`."""
    return next((why for name, why in unread.items() if key == name or key.startswith(f"{name}.")), None)
