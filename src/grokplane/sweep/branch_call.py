"""The arguments of `python branch.py`: runs, steps, and the arms with their overrides."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grokplane import config
from grokplane.app.errors import Refused
from grokplane.app.resume import CHANGEABLE
from grokplane.app.sources import BRANCH, Source, source, steps
from grokplane.app.swept import refuse_many, values_of
from grokplane.app.typed import as_typed
from grokplane.options import DIGITS, one_of
from grokplane.pasting import program, quoted
from grokplane.sweep.cells import cell_name
from grokplane.sweep.sweepfile import RESUMES_ITSELF

CONTROL, LAST = "control", "last"
_FLAGS = ("--at STEP,...", "--arm NAME", "--control", "--out DIR", "--max-members N", "--help")


@dataclass(frozen=True)
class Arm:
    """One branch of one run.

    Attributes:
        where: the run and the step.
        name: part of the folder's name.
        lines: its overrides, one value for each key.
        folder: where it lands.
    """

    where: Source
    name: str
    lines: tuple[str, ...]
    folder: Path

    @property
    def overrides(self) -> tuple[str, ...]:
        """The command line of `train.py` that makes the same run."""
        return (f"{BRANCH}={quoted(str(self.where))}", *self.lines)


@dataclass(frozen=True)
class BranchCall:
    """The arguments of one call.

    Attributes:
        arms: the branches, for every run and step.
        max_members: most members of a stack; None: as many as half of the free memory holds.
    """

    arms: tuple[Arm, ...]
    max_members: int | None


def parse_branch_call(arguments: Sequence[str]) -> BranchCall:
    """Parse the arguments of a call. The folders of the runs and their steps are looked up.

    Raises:
        Refused, ConfigError: no run, no step, unknown flags, arms without a change or with the same folder.
    """
    runs, rest = _runs(arguments)
    shared, arms, flags = _sorted(rest)
    if "--at" not in flags:
        raise Refused(f"--at: missing; allowed: {program('branch')} RUN --at STEP [key=value ...]")
    named = [arm for name, own in arms for arm in _grid(name, [*shared, *own])] or _grid(None, shared)
    if CONTROL in flags:
        named.insert(0, (CONTROL, tuple(_unswept(shared))))
    named = [arm for arm in named if arm[0]]
    if not named:
        raise Refused("key=value: missing; allowed: overrides, --arm NAME key=value ..., or --control")
    out, found = flags.get("--out"), []
    for run in runs:
        for where in _sources(run, flags["--at"]):
            place = run / "branches" if out is None else Path(out, run.name) if len(runs) > 1 else Path(out)
            found += [Arm(where, name, lines, place / f"{where.step}-{name}") for name, lines in named]
    _refuse_twice(found)
    return BranchCall(tuple(found), _members(flags.get("--max-members")))


def _runs(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The runs, which come first, and the remaining arguments."""
    first = list(itertools.takewhile(lambda text: not text.startswith("-") and Path(text).is_dir(), arguments))
    if not first:
        told = arguments[0] if arguments else ""
        if told and not told.startswith("-"):
            raise Refused(f"RUN={told}: no such folder; allowed: {program('branch')} RUN --at STEP [key=value ...]")
        raise Refused(f"RUN: missing; allowed: {program('branch')} RUN --at STEP [key=value ...]")
    return [Path(text) for text in first], list(arguments[len(first) :])


def _sorted(arguments: Sequence[str]) -> tuple[list[str], list[tuple[str, list[str]]], dict[str, str]]:
    """The overrides of all arms, the named arms with their own, and the flags with their values."""
    shared, arms, flags = list[str](), list[tuple[str, list[str]]](), dict[str, str]()
    left = list(arguments)
    while left:
        flag, equals, value = left.pop(0).partition("=")
        if not flag.startswith("-"):
            if not equals:
                raise Refused(f"{flag}: no folder of a run, and no key=value")
            (arms[-1][1] if arms else shared).append(f"{flag}={value}")
        elif flag == "--control" and not equals:
            flags[CONTROL] = ""
        elif flag in ("--at", "--arm", "--out", "--max-members") and (equals or left):
            value = value if equals else left.pop(0)
            if flag == "--arm":
                arms.append((_arm_name(value), []))
            else:
                flags[flag] = value
        else:
            raise Refused(f"{flag}{equals}{value}: {one_of(flag, _FLAGS)}")
    return shared, arms, flags


def _arm_name(name: str) -> str:
    if not name or name == CONTROL or cell_name({"": name}) != f"={name}":
        raise Refused(f"--arm {name}: must be letters, digits and any of .=,+[]-, and not {CONTROL}")
    return name


def _read(lines: Sequence[str]) -> list[Any]:
    """The overrides as Hydra's own objects."""
    read = config.parse(as_typed(lines, sweeps=True))
    for one in read:
        key, line = one.get_key_element().lstrip("+~"), str(one.input_line)
        if key in (*RESUMES_ITSELF, BRANCH) or one.is_hydra_override():
            why = "RUN, --at and --out say it" if key == BRANCH or one.is_hydra_override() else "the same call resumes"
            raise Refused(f"{line}: not allowed here, as {why}")
    return read


def _grid(name: str | None, lines: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """The arms that overrides with several values make, each with its name and its lines; the last key is fastest.

    Args:
        name: of the arm; None: it is called after its overrides.
        lines: as typed; the last one of a key counts.
    """
    axes = {one.get_key_element(): one for one in _read(lines)}
    values = {key: values_of(one) if one.is_sweep_override() else None for key, one in axes.items()}
    texts = [[f"{key}={text}" for text in values[key] or ()] or [str(one.input_line)] for key, one in axes.items()]
    found = []
    for made in itertools.product(*texts):
        shown = [line for key, line in zip(axes, made, strict=True) if name is None or values[key] is not None]
        told = cell_name({one.get_key_element(): one.value() for one in config.parse(shown)})
        found.append((",".join(part for part in (name, told) if part), made))
        refuse_many(found, "the arms")
    return found


def _unswept(lines: Sequence[str]) -> Iterator[str]:
    """The overrides that a control takes: those that a resumed run may change too, with one value."""
    for one in _read(lines):
        if one.get_key_element().startswith(CHANGEABLE) and not one.is_sweep_override():
            yield str(one.input_line)


def _sources(run: Path, at: str) -> Iterator[Source]:
    """The run at each step of `--at`."""
    for text in at.split(","):
        if text != LAST and (not text.isdecimal() or len(text) > DIGITS):
            raise Refused(f"--at {text}: must be a step that has a checkpoint, or {LAST}")
        there = steps(BRANCH, str(run))
        yield source(f"{run}@{there[-1] if text == LAST else int(text)}")


def _members(text: str | None) -> int | None:
    if text is not None and (not text.isdecimal() or int(text) < 1):
        raise Refused(f"--max-members {text}: must be a whole number, at least 1")
    return None if text is None else int(text)


def _refuse_twice(arms: Sequence[Arm]) -> None:
    seen = set()
    for arm in arms:
        if arm.folder in seen:
            raise Refused(f"{arm.folder}: two arms would land there; allowed: other names, or runs with other names")
        seen.add(arm.folder)
