"""A sweep file's `command`: the program that W&B's agent starts, and the overrides that are the same for every cell.

The agent takes the parts one by one: a macro such as `${program}` becomes what it stands for, every other part is
passed as it is. Without a `command` it starts `/usr/bin/env python PROGRAM --key=value ...`: no override but the
parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from grokplane.options import one_of
from grokplane.sweep.parsing import FileContent

PROGRAMS = ("train.py", "train_mnist.py")
PROGRAM = "${program}"
CONSOLE = "grokplane"  # the installed command, of which `train` and `train-mnist` are the programs
# Each stands for a cell's parameters, which are passed on here as they are. The agent needs the first: no other makes
# what `train.py` reads.
ARGUMENTS = tuple(
    f"${{{name}}}"
    for name in (
        "args_no_hyphens",
        "args",
        "args_no_equals",
        "args_no_boolean_flags",
        "args_json",
        "args_json_file",
        "args_append_hydra",
        "args_override_hydra",
    )
)
# Needed by the agent alone, whose runs must be on W&B's server; any other mode is what the file's author wants.
AGENTS_OWN = {"record.wandb": "online"}


def read_command(file: FileContent) -> tuple[str, dict[str, str]]:
    """The name in PROGRAMS of a file's program, and its fixed overrides by key.

    Raises:
        Refused: a command that this program cannot carry out as the agent would.
    """
    parts = file.content.get("command") or ()  # to the agent, an empty one is none
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        file.refuse("command", parts, "a list of texts")
    if not parts:
        return _declared(file), {}
    at, program = _program(file, parts)
    _check_before(file, parts[:at])
    return program, _fixed(file, parts[at + 1 :])


def is_agents_own(key: str, value: object) -> bool:
    """Whether a key with this value is meant for W&B's agent alone."""
    return AGENTS_OWN.get(key.lstrip("+")) == str(value).strip(" '\"")


def _declared(file: FileContent) -> str:
    """The program that the file's `program` names, by its path or by its name alone."""
    value = file.content.get("program")
    name = Path(str(value)).name
    if name not in PROGRAMS:
        file.refuse("program", value, one_of(name, PROGRAMS))
    return name


def _program(file: FileContent, parts: Sequence[str]) -> tuple[int, str]:
    """Where the command has the program, and its name: the macro, a path, `-m` and a name, or `grokplane train`."""
    for at, part in enumerate(parts):
        named = at > 0 and (parts[at - 1] == "-m" or Path(parts[at - 1]).name == CONSOLE)
        name = f"{part.replace('-', '_')}.py" if named else Path(part).name
        if part == PROGRAM:
            return at, _declared(file)
        if name in PROGRAMS and not _assigns(part):
            if "program" in file.content and _declared(file) != name:
                file.refuse("program", file.content["program"], f"the command starts {name}; name the same")
            return at, name
    file.refuse("command", list(parts), f"names no program; allowed: {PROGRAM}, {', '.join(PROGRAMS)}")


def _assigns(part: str) -> bool:
    return re.match(r"\w+=", part) is not None


def _check_before(file: FileContent, parts: Sequence[str]) -> None:
    """What stands before the program starts it, which is not needed here; but a variable would change what it does."""
    for part in parts:
        if _assigns(part):
            allowed = (
                f"a variable of the environment; leave it out and set it for this call: {part} python sweep.py ..."
            )
            file.refuse("command", part, allowed)


def _fixed(file: FileContent, parts: Sequence[str]) -> dict[str, str]:
    """The overrides behind the program, by key."""
    fixed: dict[str, str] = {}
    for key, part in _overrides(file, parts):
        if key in fixed:
            file.refuse("command", part, f"{key} is given twice")
        if not is_agents_own(key, part.partition("=")[2]):
            fixed[key] = part
    return fixed


def _overrides(file: FileContent, parts: Sequence[str]) -> Iterator[tuple[str, str]]:
    for part in parts:
        if part in ARGUMENTS:
            continue
        if re.fullmatch(r"\$\{\w+\}", part):
            file.refuse("command", part, f"no macro that stands here; {one_of(part, ARGUMENTS)}")
        file.check_text("command", part)
        key, equals, _ = part.partition("=")
        if not equals or part.startswith("-") or key.lstrip("+~").startswith("hydra"):
            file.refuse("command", part, "key=value after the program; flags and Hydra's keys cannot be run here")
        yield key.removeprefix("++"), part


def without_agents_own(parameters: Mapping[str, object]) -> dict[str, object]:
    """The specifications of parameters, without a key that the file fixes at what is meant for W&B's agent alone."""
    kept = dict(parameters)
    for key, spec in parameters.items():
        values = spec.get("values", [spec.get("value")]) if isinstance(spec, dict) else []
        if isinstance(values, list) and len(values) == 1 and is_agents_own(str(key), values[0]):
            del kept[key]
    return kept
