"""The arguments of `python sweep.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from grokplane import config
from grokplane.app.errors import Refused
from grokplane.app.typed import as_typed
from grokplane.options import DIGITS, ConfigError, one_of
from grokplane.pasting import program
from grokplane.shipped import SWEEPS

_SWITCHES = ("--dry-run", "--status")
_VALUES = {"--executor": "hydra.launcher.executor", "--max-members": "hydra.launcher.max_members", "--seed": ""}
_HYDRA = ("hydra.sweep.dir=", "hydra.launcher.")


@dataclass(frozen=True)
class Call:
    """The arguments of one call.

    Attributes:
        file: the sweep file.
        typed: overrides of the cells.
        hydra: overrides of Hydra's own keys.
        folder: the sweep's folder.
        seed: seed of random draws; None if it was not given.
        dry_run, status: whether to print only.
    """

    file: Path
    typed: tuple[str, ...]
    hydra: tuple[str, ...]
    folder: Path
    seed: int | None
    dry_run: bool
    status: bool


def parse_call(arguments: Sequence[str]) -> Call:
    """Parse the arguments of a call.

    Raises:
        Refused: no file, unknown flags, or Hydra keys that have no effect here.
    """
    switches, values, rest = _sorted(arguments)
    if not rest or "=" in rest[0]:
        raise Refused(f"FILE: missing; allowed: {program('sweep')} FILE [key=value ...]")
    file, overrides = _file(rest[0]), rest[1:]
    hydra = as_typed([line for line in overrides if line.lstrip("+~").startswith("hydra")])
    hydra += [f"{_VALUES[flag]}={value}" for flag, value in values.items() if _VALUES[flag]]
    for line in overrides:
        if "=" not in line and not line.startswith("~"):
            raise Refused(f"{line}: one FILE is allowed, and key=value")
    for line in hydra:
        if not line.startswith(_HYDRA):
            raise Refused(f"{line}: of Hydra's keys hydra.sweep.dir and hydra.launcher.* are allowed here")
    if {"--dry-run", "--status"} <= switches:
        raise Refused("--dry-run, --status: exclude each other")
    seed = values.get("--seed")
    if seed is not None and (not seed.isdecimal() or len(seed) > DIGITS):
        raise Refused(f"--seed {seed}: must be a whole number, at least 0 and of at most {DIGITS} digits")
    named = [line for line in hydra if line.startswith("hydra.sweep.dir=")]
    folder = _folder(named[-1]) if named else Path("outputs", "sweeps", file.stem)
    return Call(
        file,
        tuple(as_typed([line for line in overrides if not line.lstrip("+~").startswith("hydra")], sweeps=True)),
        tuple(line for line in hydra if line.startswith("hydra.launcher.")),
        folder,
        None if seed is None else int(seed),
        "--dry-run" in switches,
        "--status" in switches,
    )


def _file(text: str) -> Path:
    """The sweep file at that path; where there is none, `NAME` and `sweeps/NAME.yaml` are the shipped one."""
    file, shipped = Path(text), SWEEPS / Path(text).with_suffix(".yaml").name
    by_name = str(file.parent) in (".", "sweeps") and shipped.is_file()
    return shipped if by_name and not file.exists() else file


def _folder(line: str) -> Path:
    """The folder that `hydra.sweep.dir=...` names, with `${now:...}` and `${oc.env:...}` resolved."""
    key, value = "hydra.sweep.dir", config.parse([line])[0].value()
    named = OmegaConf.create({key: value})[key]  # a refusal shows the resolved value
    if not named:
        raise ConfigError(key, named, "must name a folder")
    return Path(named)


def _sorted(arguments: Sequence[str]) -> tuple[set[str], dict[str, str], list[str]]:
    """Flags without a value, flags with a value, and the remaining arguments."""
    switches, values, rest = set[str](), dict[str, str](), list[str]()
    left = list(arguments)
    while left:
        flag, equals, value = left.pop(0).partition("=")
        if not flag.startswith("-"):
            rest.append(f"{flag}{equals}{value}")
        elif flag in _SWITCHES and not equals:
            switches.add(flag)
        elif flag in _VALUES and (equals or left):
            values[flag] = value if equals else left.pop(0)
        else:
            allowed = one_of(flag, [*_SWITCHES, "--help", *(f"{name} VALUE" for name in _VALUES)])
            raise Refused(f"{flag}{equals}{value}: {allowed}")
    return switches, values, rest
